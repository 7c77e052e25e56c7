() => {
  // Names for screen readers, which Gradio has no setting for: whose buttons these are, and what an example shows.
  const examples = EXAMPLES;
  const sides = ["before", "after"];
  const label = () => {
    for (const side of sides) {
      const group = document.getElementById(`picture-${side}`);
      group?.setAttribute("role", "group");
      group?.setAttribute("aria-label", `Picture ${side}`);
    }
    document.querySelectorAll("#examples tbody tr").forEach((row, place) => {
      row.querySelectorAll("td").forEach((cell, column) => {
        cell.setAttribute("aria-label", `Example ${examples[place]}, ${sides[column]}`);
      });
    });
  };
  label();
  new MutationObserver(label).observe(document.body, { childList: true, subtree: true }); // parts come late
}
