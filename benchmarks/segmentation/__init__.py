"""Question 3 of docs/open_questions.md: whether a model of pairs says what happens in a clip, and when."""
