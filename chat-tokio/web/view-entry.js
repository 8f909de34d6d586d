// The first view: asks for a name, and for a token where the server wants one.

import { byId, setText } from "./dom.js";
import { nameProblem } from "./text.js";

export class EntryView {
  #submit;

  /** `submit(name, token)`: the token is null where none was given. */
  constructor(submit) {
    this.#submit = submit;
    byId("name-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#try();
    });
    for (const field of ["name-input", "token-input"]) {
      byId(field).addEventListener("input", () => this.#say(""));
    }
  }

  show(name, problem = "") {
    this.#open(name, problem);
    this.#focus("name-input");
  }

  /** Asks for a token, too. Whoever is typing it already is not disturbed. */
  askToken(name, problem = "") {
    if (this.shown && !byId("token-part").hidden) return this.#say(problem);
    byId("token-part").hidden = false;
    this.#open(name, problem);
    this.#focus("token-input");
  }

  /** What was typed does not stay in the page. */
  hide() {
    byId("token-input").value = "";
    byId("token-part").hidden = true;
    byId("entry").hidden = true;
    byId("app").hidden = false;
  }

  get shown() {
    return !byId("entry").hidden;
  }

  #open(name, problem) {
    byId("entry").hidden = false;
    byId("app").hidden = true;
    byId("name-input").value = name;
    this.#say(problem);
  }

  #focus(field) {
    byId(field).focus();
    byId(field).select();
  }

  #try() {
    const name = byId("name-input").value.trim();
    const token = byId("token-input").value.trim();
    const problem = nameProblem(name);
    if (problem) this.#say(problem);
    else this.#submit(name, token === "" ? null : token);
  }

  #say(problem) {
    setText(byId("name-error"), problem);
    byId("name-input").toggleAttribute("aria-invalid", problem !== "");
  }
}
