/** Small charts of the last two minutes, one for each row that can be seen. */

import uPlot from "uplot";

import { SPAN_MS } from "./history.js";
import type { Ticker } from "./store.js";

/** Milliseconds that a chart shows at least. */
const LEAST_SPAN_MS = 20_000;
/** The smallest height of a chart, as part of the price: a market that stands still is a line. */
const LEAST_RANGE = 0.000_02;

/** The colours that the style sheet has for lines, read when the scheme changes. */
interface Colours {
  readonly up: string;
  readonly down: string;
  readonly flat: string;
}

class Spark {
  readonly #plot: uPlot;
  readonly #ticker: Ticker;
  #now = 0;
  #colours: Colours;

  constructor(host: HTMLElement, ticker: Ticker, colours: Colours) {
    this.#ticker = ticker;
    this.#colours = colours;
    const options: uPlot.Options = {
      width: host.clientWidth,
      height: host.clientHeight,
      padding: [3, 1, 3, 1],
      legend: { show: false },
      cursor: { show: false },
      axes: [{ show: false }, { show: false }],
      scales: {
        x: { time: false, range: (_plot, first) => [this.#beginning(first), this.#now] },
        y: { range: (_plot, low, high) => around(low, high) },
      },
      series: [
        {},
        {
          stroke: () => this.#colour,
          width: 1.5,
          points: { show: false },
          paths: (uPlot.paths.stepped as uPlot.Series.SteppedPathBuilderFactory)({ align: 1 }),
        },
      ],
    };
    this.#plot = new uPlot(options, [[], []], host);
  }

  draw(now: number, colours: Colours): void {
    this.#now = now;
    this.#colours = colours;
    this.#plot.setData(this.#ticker.history.points(now) as uPlot.AlignedData);
  }

  resize(width: number, height: number): void {
    if (width !== this.#plot.width || height !== this.#plot.height) this.#plot.setSize({ width, height });
  }

  destroy(): void {
    this.#plot.destroy();
  }

  /** The first minutes of a symbol fill the chart too, instead of creeping in from its edge. */
  #beginning(first: number | null): number {
    return Math.max(this.#now - SPAN_MS, Math.min(first ?? this.#now, this.#now - LEAST_SPAN_MS));
  }

  get #colour(): string {
    const change = this.#ticker.history.change ?? 0;
    return Math.abs(change) < 0.005 ? this.#colours.flat : change > 0 ? this.#colours.up : this.#colours.down;
  }
}

/** Makes a chart when its row comes into sight, and takes it away when it leaves. */
export class Sparks {
  readonly #hosts = new Map<Element, { readonly ticker: Ticker; spark: Spark | undefined }>();
  readonly #sight = new IntersectionObserver((entries) => entries.forEach((each) => this.#seen(each)));
  readonly #sizes = new ResizeObserver((entries) => entries.forEach((each) => this.#resized(each)));
  #colours: Colours = colours();

  constructor() {
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => (this.#colours = colours()));
  }

  add(host: HTMLElement, ticker: Ticker): void {
    this.#hosts.set(host, { ticker, spark: undefined });
    this.#sight.observe(host);
  }

  remove(host: HTMLElement): void {
    this.#sight.unobserve(host);
    this.#end(host);
    this.#hosts.delete(host);
  }

  draw(now: number): void {
    for (const { spark } of this.#hosts.values()) spark?.draw(now, this.#colours);
  }

  #seen({ target, isIntersecting }: IntersectionObserverEntry): void {
    const place = this.#hosts.get(target);
    if (!place) return;
    if (!isIntersecting) return this.#end(target);
    place.spark ??= new Spark(target as HTMLElement, place.ticker, this.#colours);
    place.spark.draw(Date.now(), this.#colours);
    this.#sizes.observe(target);
  }

  #resized({ target, contentRect: { width, height } }: ResizeObserverEntry): void {
    if (width > 0) this.#hosts.get(target)?.spark?.resize(Math.round(width), Math.round(height));
  }

  #end(target: Element): void {
    const place = this.#hosts.get(target);
    this.#sizes.unobserve(target);
    place?.spark?.destroy();
    if (place) place.spark = undefined;
  }
}

function around(low: number | null, high: number | null): [number, number] {
  if (low === null || high === null) return [0, 1];
  const least = (Math.abs(low + high) / 2) * LEAST_RANGE;
  const extra = Math.max(0, least - (high - low)) / 2 || (high > low ? 0 : 1);
  return [low - extra, high + extra];
}

function colours(): Colours {
  const style = getComputedStyle(document.documentElement);
  const read = (name: string): string => style.getPropertyValue(name).trim();
  return { up: read("--up"), down: read("--down"), flat: read("--muted") };
}
