// The first view: asks for a name.

import { byId, setText } from "./dom.js";
import { nameProblem } from "./text.js";

export class EntryView {
  #submit;

  constructor(submit) {
    this.#submit = submit;
    byId("name-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#try();
    });
    byId("name-input").addEventListener("input", () => this.#say(""));
  }

  show(name, problem = "") {
    byId("entry").hidden = false;
    byId("app").hidden = true;
    const input = byId("name-input");
    input.value = name;
    this.#say(problem);
    input.focus();
    input.select();
  }

  hide() {
    byId("entry").hidden = true;
    byId("app").hidden = false;
  }

  get shown() {
    return !byId("entry").hidden;
  }

  #try() {
    const name = byId("name-input").value.trim();
    const problem = nameProblem(name);
    if (problem) this.#say(problem);
    else this.#submit(name);
  }

  #say(problem) {
    setText(byId("name-error"), problem);
    byId("name-input").toggleAttribute("aria-invalid", problem !== "");
  }
}
