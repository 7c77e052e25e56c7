() => {
  // Names for screen readers, which Gradio has no setting for: whose buttons these are, and what an example shows.
  for (const name of ["before", "after"]) {
    const group = document.getElementById(name);
    group?.setAttribute("role", "group");
    group?.setAttribute("aria-label", `Picture ${name}`);
  }
  document.querySelectorAll("#examples td").forEach((cell) => {
    const file = cell.querySelector("img")?.src.split("/").pop() ?? "";
    cell.setAttribute("aria-label", "Example " + file.replace(".png", "").replaceAll("_", " "));
  });
}
