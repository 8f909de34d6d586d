// The small prompt over the messages: the token ends soon, and only its owner can get another one.

import { byId } from "./dom.js";

export class RenewalView {
  #submit;

  /** `submit(token)` gets the new one. */
  constructor(submit) {
    this.#submit = submit;
    byId("renewal").addEventListener("submit", (event) => {
      event.preventDefault();
      const token = byId("renewal-input").value.trim();
      if (token === "") return;
      this.hide();
      this.#submit(token);
    });
    byId("renewal-later").addEventListener("click", () => this.hide());
  }

  /** It takes no focus: somebody may be in the middle of a sentence. */
  show() {
    byId("renewal").hidden = false;
  }

  hide() {
    byId("renewal-input").value = "";
    byId("renewal").hidden = true;
  }
}
