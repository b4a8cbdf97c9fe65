/**
 * Reads one XML stream (RFC 6120 §4) from bytes: header, stanzas, end, or the one refusal after which
 * nothing is read. Sans-I/O; a stream that begins anew after STARTTLS or SASL gets a new reader, so
 * nothing of the old one lives on.
 */
import { ElementBuilder } from './builder.ts'
import type { ReadFailure } from './builder.ts'
import type { XmlElement } from './element.ts'

export interface XmlStreamReaderListener {
  /** `header`: the root without children; `defaultNs`: the namespace of its stanzas. */
  open(header: XmlElement, defaultNs: string): void
  element(element: XmlElement): void
  close(): void
  failed(condition: ReadFailure, text: string): void
}

const leadingSpace = /^[ \t\r\n]+/

export class XmlStreamReader {
  readonly #decoder = new TextDecoder('utf-8', { fatal: true })
  readonly #builder: ElementBuilder
  readonly #listener: XmlStreamReaderListener
  #isOver = false
  /** Between stanzas, and nothing but white space was read since the last: keep-alives are dropped. */
  #isIdle = true

  constructor(listener: XmlStreamReaderListener, { charactersMax }: { charactersMax: number }) {
    this.#listener = listener
    this.#builder = new ElementBuilder({
      root: (header, defaultNs) => listener.open(header, defaultNs),
      element: (element) => listener.element(element),
      end: () => {
        this.#isOver = true
        listener.close()
      },
      failed: (condition, text) => this.#fail(condition, text),
    }, 1)
    this.#builder.charactersMax = charactersMax
  }

  /** Of one stanza, in characters (each is one to four bytes). More after login. */
  set charactersMax(most: number) {
    this.#builder.charactersMax = most
  }

  /** Takes any piece of the stream; listeners are called before it returns. */
  write(bytes: Uint8Array): void {
    if (this.#isOver) return
    let text: string
    try {
      text = this.#decoder.decode(bytes, { stream: true })
    } catch {
      this.#fail('not-well-formed', 'this is not UTF-8')
      return
    }
    // saxes would keep the white space of hours as one text.
    if (this.#isIdle) text = text.replace(leadingSpace, '')
    if (text === '') return
    this.#builder.write(text)
    if (this.#isOver) return
    const { depth, pending } = this.#builder
    this.#isIdle = depth <= 1 && pending <= text.length - text.trimEnd().length
  }

  /** Ignores what follows, also what was handed over already. */
  stop(): void {
    this.#isOver = true
    this.#builder.stop()
  }

  #fail(condition: ReadFailure, text: string): void {
    if (this.#isOver) return
    this.stop()
    this.#listener.failed(condition, text)
  }
}
