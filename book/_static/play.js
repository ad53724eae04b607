// A figure's knobs choose one of the states that came with the page.
for (const figure of document.querySelectorAll("figure.play")) {
  const [paths, states] = JSON.parse(figure.querySelector("script").textContent);
  const knobs = [...figure.querySelectorAll("input")];
  const positions = knobs.map((knob) => JSON.parse(knob.dataset.positions));
  const lines = figure.querySelectorAll("svg path.line");
  const words = figure.querySelector(".play-words");
  const show = () => {
    let place = 0;
    knobs.forEach((knob, which) => {
      const text = positions[which][knob.value];
      place = place * positions[which].length + Number(knob.value);
      knob.setAttribute("aria-valuetext", text);
      knob.nextElementSibling.value = text;
    });
    const [said, ...chosen] = states[place];
    chosen.forEach((path, which) => lines[which].setAttribute("d", paths[path]));
    words.textContent = said;
  };
  knobs.forEach((knob) => knob.addEventListener("input", show));
  show(); // a browser may have kept positions over a reload
}
