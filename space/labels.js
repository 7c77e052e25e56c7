// Names for screen readers, which Gradio has no setting for: which picture a button belongs to, and what an example is.
() => {
  for (const name of ["before", "after"]) {
    const group = document.getElementById(name);
    group?.setAttribute("role", "group");
    group?.setAttribute("aria-label", `Picture ${name}`);
  }
  document.querySelectorAll("#examples td").forEach((cell) => {
    const file = cell.querySelector("img")?.src.split("/").pop() ?? "";
    cell.setAttribute("aria-label", "Example " + file.replace(".png", "").replaceAll("_", " "));
  });
};
