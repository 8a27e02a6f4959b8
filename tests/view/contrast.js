// Each drawn text and mark with the contrast that it needs, and the one that it has against what is behind it.
() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgb = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  // As WCAG 2 defines them.
  const linear = (part) => (part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const ratio = (a, b) => {
    const [more, less] = [light(a), light(b)].sort((one, other) => other - one);
    return (more + 0.05) / (less + 0.05);
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const found = rgb(getComputedStyle(at).backgroundColor);
      if (found[3] > 250) return found;
    }
    return [255, 255, 255];
  };
  const rows = [];
  const look = (selector, what, property, least) => document.querySelectorAll(selector).forEach((one) => {
    const colour = rgb(getComputedStyle(one)[property]);
    rows.push([`${what} ${one.getAttribute("class")}`, least, ratio(colour, behind(one.closest("svg").parentElement))]);
  });
  look("svg text", "text", "fill", 4.5);
  look("svg.mark", "mark", "fill", 3);
  look("circle.dot", "dot", "fill", 3);
  look(".curve, .cursor", "line", "stroke", 3);
  return rows;
}
