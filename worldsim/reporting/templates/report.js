"use strict";
// Native controls cover the judge's gauges at the foot of a film, so the page brings its own below.
for (const video of document.querySelectorAll("video")) {
  const bar = document.createElement("div");
  bar.className = "player";
  const button = document.createElement("button");
  button.type = "button";
  const slider = document.createElement("input");
  slider.type = "range";
  slider.min = 0;
  slider.max = 1;
  slider.step = "any";
  slider.value = 0;
  slider.setAttribute("aria-label", "Position in " + video.getAttribute("aria-label"));
  bar.append(button, slider);
  video.after(bar);
  video.removeAttribute("controls");
  const show = () => { button.textContent = video.paused ? "Play" : "Pause"; };
  const toggle = () => (video.paused ? video.play() : video.pause());
  const follow = () => {
    if (video.duration) slider.value = video.currentTime / video.duration;
    if (!video.paused) requestAnimationFrame(follow);
  };
  button.addEventListener("click", toggle);
  video.addEventListener("click", toggle);
  video.addEventListener("play", () => { show(); follow(); });
  video.addEventListener("pause", show);
  slider.addEventListener("input", () => {
    video.pause();
    video.currentTime = slider.value * video.duration;
  });
  show();
}
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
