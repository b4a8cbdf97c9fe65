/**
 * The rules of output, in one place:
 *
 * - data goes to stdout, talk to stderr; with `--json` there is no talk but errors;
 * - colour only on a terminal, and not with `NO_COLOR`, `TERM=dumb` or `--no-color`; it repeats
 *   what the words say and is never the only sign;
 * - text that came from others is escaped by its printer (escape.ts);
 * - an error is one line `openim: what`, then one line that says what to do; the stack only with
 *   `--verbose`;
 * - no question is asked where nobody can answer.
 */
import { styleText } from 'node:util'
import type { Readable, Writable } from 'node:stream'
import type { Environment } from './environment.ts'
import { escapedJson } from './escape.ts'

export type Style = 'good' | 'bad' | 'faint' | 'strong'

const styles = { good: 'green', bad: 'red', faint: 'dim', strong: 'bold' } as const

export interface TerminalStreams {
  readonly stdin: Readable & { isTTY?: boolean, setRawMode?(isRaw: boolean): unknown }
  readonly stdout: Writable & { isTTY?: boolean, columns?: number, rows?: number }
  readonly stderr: Writable & { isTTY?: boolean }
}

export interface TerminalOptions {
  readonly json: boolean
  readonly colour: boolean
  readonly env: Environment
}

export class Terminal {
  readonly streams: TerminalStreams
  readonly json: boolean
  readonly #colour: boolean

  constructor(streams: TerminalStreams, options: TerminalOptions) {
    this.streams = streams
    this.json = options.json
    const { env } = options
    this.#colour = options.colour && (env['NO_COLOR'] ?? '') === '' && env['TERM'] !== 'dumb'
  }

  /** Somebody sits there who reads and types. */
  get interactive(): boolean {
    return this.streams.stdin.isTTY === true && this.streams.stdout.isTTY === true
  }

  /** Whether the talk is seen by a person. */
  get watched(): boolean {
    return this.streams.stderr.isTTY === true
  }

  /** One line of data. Settles when the system took it: only then may a cursor move. */
  data(line: string): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    this.streams.stdout.write(`${line}\n`, (error) => (error ? reject(error) : resolve()))
    return promise
  }

  /** One JSON value on one line of data. */
  value(value: unknown): Promise<void> {
    return this.data(escapedJson(value))
  }

  /** One line of talk. */
  say(line: string): void {
    if (!this.json) this.streams.stderr.write(`${line}\n`)
  }

  /** One line that the next one writes over; only where a person watches. Empty: takes it away. */
  progress(line: string): void {
    if (!this.json && this.watched) this.streams.stderr.write(`\r\x1b[K${line}`)
  }

  /** Talk that must be seen also by scripts. */
  warn(line: string): void {
    this.streams.stderr.write(`${line}\n`)
  }

  /** The two lines of an error. */
  fail(what: string, hint: string): void {
    this.streams.stderr.write(`${this.style('bad', 'openim:', 'stderr')} ${what}\n`)
    if (hint !== '') this.streams.stderr.write(`${hint}\n`)
  }

  /** Marks text for `stdout`, or for the stream named. */
  style(style: Style, text: string, stream: 'stdout' | 'stderr' = 'stdout'): string {
    if (!this.colours(stream)) return text
    return styleText(styles[style], text, { validateStream: false })
  }

  colours(stream: 'stdout' | 'stderr'): boolean {
    return this.#colour && this.streams[stream].isTTY === true
  }
}
