/**
 * Where each key stands in a TOML text, so that a wrong setting is reported as
 * `config.toml:12:9`. The parser (smol-toml) gives positions for its own errors only, not for
 * keys that are well-formed but wrong.
 *
 * Walks text that already parsed, so it never has to refuse (it ends on any text): it follows
 * tables, dotted and quoted keys, inline tables, arrays and all four kinds of strings (TOML
 * 1.0.0), and skips the rest.
 * Alternative weighed: searching for the key's text. Refused: `tcp` inside a comment, a string or
 * another table would win.
 */

export interface Position {
  /** Both from 1, the column in UTF-16 units, as editors count. */
  readonly line: number
  readonly column: number
}

/** Positions by key path; a path is joined with `pathSeparator`. The first mention wins. */
export function locateKeys(text: string): Map<string, Position> {
  return new Locator(text).run()
}

/** Cannot be part of a bare key, and nobody quotes it into a setting's name. */
const pathSeparator = '\u0000'

export function keyPath(keys: readonly (string | number)[]): string {
  return keys.join(pathSeparator)
}

class Locator {
  readonly #text: string
  readonly #found = new Map<string, Position>()
  #at = 0

  constructor(text: string) {
    this.#text = text
  }

  run(): Map<string, Position> {
    let table: string[] = []
    for (;;) {
      this.#skipBlank(true)
      if (this.#at >= this.#text.length) return this.#found
      if (this.#text[this.#at] === '[') {
        while (this.#text[this.#at] === '[') this.#at++
        table = this.#keys([], ']')
        while (this.#text[this.#at] === ']') this.#at++
      } else {
        this.#assignment(table)
      }
    }
  }

  #assignment(table: readonly string[]): void {
    const path = this.#keys(table, '=')
    this.#at++
    this.#skipBlank(false)
    this.#value(path)
  }

  /** Reads a dotted key up to (not over) `end`, noting where each of its parts stands. */
  #keys(prefix: readonly string[], end: string): string[] {
    const path = [...prefix]
    while (this.#at < this.#text.length && this.#text[this.#at] !== end) {
      const char = this.#text[this.#at]!
      if (char === ' ' || char === '\t' || char === '.') {
        this.#at++
        continue
      }
      const start = this.#at
      path.push(this.#key())
      this.#note(path, start)
    }
    return path
  }

  #key(): string {
    const quote = this.#text[this.#at]
    if (quote === '"' || quote === "'") {
      const start = this.#at
      this.#string()
      const raw = this.#text.slice(start, this.#at)
      return quote === '"' ? unquote(raw) : raw.slice(1, -1)
    }
    return this.#bare(' \t.=]')
  }

  #value(path: readonly (string | number)[]): void {
    const char = this.#text[this.#at]
    if (char === '"' || char === "'") this.#string()
    else if (char === '{') this.#inlineTable(path)
    else if (char === '[') this.#array(path)
    else this.#bare(',]}#\n\r')
  }

  /** Up to one of `ends`, but at least one character: text that is no TOML must end, too. */
  #bare(ends: string): string {
    const start = this.#at++
    while (this.#at < this.#text.length && !ends.includes(this.#text[this.#at]!)) this.#at++
    return this.#text.slice(start, this.#at)
  }

  #inlineTable(path: readonly (string | number)[]): void {
    this.#at++
    for (;;) {
      this.#skipBlank(true)
      const char = this.#text[this.#at]
      if (char === undefined) return
      if (char === '}') break
      if (char === ',') this.#at++
      else this.#assignment(path.map(String))
    }
    this.#at++
  }

  #array(path: readonly (string | number)[]): void {
    this.#at++
    for (let index = 0; ;) {
      this.#skipBlank(true)
      const char = this.#text[this.#at]
      if (char === undefined) return
      if (char === ']') break
      if (char === ',') {
        this.#at++
        continue
      }
      const item = [...path, index++]
      this.#note(item, this.#at)
      this.#value(item)
    }
    this.#at++
  }

  #string(): void {
    const quote = this.#text[this.#at]!
    const triple = quote.repeat(3)
    const multiline = this.#text.startsWith(triple, this.#at)
    const end = multiline ? triple : quote
    this.#at += end.length
    while (this.#at < this.#text.length && !this.#text.startsWith(end, this.#at)) {
      this.#at += quote === '"' && this.#text[this.#at] === '\\' ? 2 : 1
    }
    this.#at += end.length
    // A multi-line string may end in up to two quotes of its own before the closing three.
    while (multiline && this.#text[this.#at] === quote) this.#at++
  }

  #skipBlank(overLines: boolean): void {
    while (this.#at < this.#text.length) {
      const char = this.#text[this.#at]!
      if (char === '#' && overLines) {
        while (this.#at < this.#text.length && this.#text[this.#at] !== '\n') this.#at++
      } else if (char === ' ' || char === '\t' || (overLines && (char === '\n' || char === '\r'))) {
        this.#at++
      } else {
        return
      }
    }
  }

  #note(path: readonly (string | number)[], at: number): void {
    const key = keyPath(path)
    if (this.#found.has(key)) return
    const before = this.#text.slice(0, at)
    const lineStart = before.lastIndexOf('\n') + 1
    this.#found.set(key, { line: before.split('\n').length, column: at - lineStart + 1 })
  }
}

/** Basic strings escape as JSON does, but for `\U` and `\e`; those keys keep their raw text. */
function unquote(raw: string): string {
  try {
    return JSON.parse(raw) as string
  } catch {
    return raw.slice(1, -1)
  }
}
