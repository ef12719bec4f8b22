"use strict";
for (const button of document.querySelectorAll(".play-all")) {
  button.addEventListener("click", () => {
    const videos = button.closest("section").querySelectorAll("video");
    const playing = [...videos].some((video) => !video.paused);
    for (const video of videos) playing ? video.pause() : video.play();
    button.textContent = playing ? "Play all" : "Pause all";
  });
}
for (const section of document.querySelectorAll("section")) {
  const marks = section.querySelectorAll("[data-policy]");
  for (const mark of marks) {
    const light = (on) => {
      for (const other of marks) {
        other.classList.toggle("lit", on && other.dataset.policy === mark.dataset.policy);
      }
    };
    mark.addEventListener("pointerenter", () => light(true));
    mark.addEventListener("pointerleave", () => light(false));
  }
}
