const HIDDEN = "[secret]";

/** A secret text that cannot slip into a log, an error or an answer: only `reveal` gives it back. */
export class Secret {
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  /** For the header or the cipher that needs the text, and for nothing else. */
  reveal(): string {
    return this.#text;
  }

  toString(): string {
    return HIDDEN;
  }

  toJSON(): string {
    return HIDDEN;
  }
}
