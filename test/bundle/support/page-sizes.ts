import { expect } from "vitest";
import type { Browser } from "./chromium.ts";

const SIZES = [
  [320, 640],
  [360, 740],
  [1_280, 800],
] as const;

/**
 * Fails unless a page fits a phone and a desk.
 *
 * @param url Opened anew for each size; without one, the page that is there is measured.
 */
export async function expectFit(browser: Browser, url?: string): Promise<void> {
  for (const [width, height] of SIZES) {
    await browser.resize(width, height);
    if (url !== undefined) await browser.goto(url);
    const scrolls = await browser.ask<number>("document.documentElement.scrollWidth - innerWidth");
    expect({ width, scrolls }).toEqual({ width, scrolls: 0 });
    // Whoever uses a finger has to hit what there is to press.
    const low =
      "[...document.querySelectorAll('button:not([value=sign_out]), input:not([type=hidden])')].filter(e => e.offsetHeight < 40).length";
    expect({ width, low: await browser.ask(low) }).toEqual({ width, low: 0 });
  }
}
