// For keyboards and screen readers: a button is named by what is seen on it; a wide table can be scrolled without a mouse.
document.addEventListener("DOMContentLoaded", () => {
  document.querySelector(".sidebar-primary-item:has(.logo)")?.setAttribute("role", "banner");
  document.querySelectorAll("summary[aria-label], .search-button-field").forEach((each) => each.removeAttribute("aria-label"));
  document.querySelectorAll(".bd-article table").forEach((table) => {
    const box = document.createElement("div");
    box.className = "scroll";
    table.replaceWith(box);
    box.append(table);
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
  });
});
