/** Server-sent events as they are written. Pure. */

/** A text, or a piece of one, as it stands behind `data: `: what follows a line break is a line of data as well. */
export function dataText(text: string): string {
  return text.replace(/\r\n|\n|\r/g, "\ndata: ");
}

/** An event that is its data and nothing else. */
export function eventText(text: string): string {
  return `data: ${dataText(text)}\n\n`;
}
