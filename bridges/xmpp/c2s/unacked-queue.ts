/**
 * Stanzas sent to a client that it has not acknowledged (XEP-0198 §4), in order. `h` counts modulo
 * 2³² (§4): it is compared as a distance from what was acknowledged before, so one that goes back
 * looks like one far too high, and is refused as that.
 */
import { Fifo } from '../../../protocol/fifo.ts'
import type { XmlElement } from '../xml/element.ts'

interface Unacked {
  readonly stanza: XmlElement
  readonly arrived: (() => void) | undefined
  readonly bytes: number
}

const modulus = 2 ** 32

export class UnackedQueue {
  readonly #entries = new Fifo<Unacked>()
  #bytes = 0
  #acknowledged = 0

  get size(): number {
    return this.#entries.length
  }

  /** About: markup is not counted to the byte. */
  get bytes(): number {
    return this.#bytes
  }

  /** All that were ever sent, modulo 2³². */
  get sent(): number {
    return (this.#acknowledged + this.size) % modulus
  }

  push(stanza: XmlElement, arrived?: () => void): void {
    const bytes = roughBytes(stanza)
    this.#entries.push({ stanza, arrived, bytes })
    this.#bytes += bytes
  }

  /** False, and nothing is changed: more than was sent. */
  acknowledge(h: number): boolean {
    const count = (h - this.#acknowledged + modulus) % modulus
    if (count > this.size) return false
    this.#acknowledged = h
    for (let i = 0; i < count; i++) {
      const { bytes, arrived } = this.#entries.shift()!
      this.#bytes -= bytes
      arrived?.()
    }
    return true
  }

  stanzas(): XmlElement[] {
    return Array.from({ length: this.size }, (_, i) => this.#entries.at(i).stanza)
  }
}

/** Characters of names, values and text. */
function roughBytes(element: XmlElement): number {
  let bytes = 2 * element.name.length + element.ns.length + 5
  for (const name in element.attrs) bytes += name.length + element.attrs[name]!.length + 4
  for (const child of element.children) bytes += typeof child === 'string' ? child.length : roughBytes(child)
  return bytes
}
