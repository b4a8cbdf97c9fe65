/**
 * A client of XMPP that says whatever a test likes, over a socket that the test opened.
 */
import { once } from 'node:events'
import type { Socket } from 'node:net'
import * as assert from 'uvu/assert'

/** To the domain `a.test`. */
export const streamHeader = `<?xml version='1.0'?><stream:stream xmlns='jabber:client'`
  + ` xmlns:stream='http://etherx.jabber.org/streams' to='a.test' version='1.0'>`

export class RawClient {
  readonly #socket: Socket
  #text = ''
  isClosed = false

  constructor(socket: Socket) {
    this.#socket = socket
    socket.setEncoding('utf8')
    socket.on('data', (text: string) => { this.#text += text })
    socket.on('error', () => {})
    socket.on('close', () => { this.isClosed = true })
  }

  say(text: string): void {
    this.#socket.write(text)
  }

  /** What came until `end` did; forgets it. Fails when the stream ended before. */
  async hears(end: string | RegExp): Promise<string> {
    for (;;) {
      const at = typeof end === 'string' ? this.#text.indexOf(end) : this.#text.search(end)
      if (at !== -1) {
        const text = this.#text
        this.#text = ''
        return text
      }
      assert.not.ok(this.isClosed, `the stream ended before ${end}; got ${this.#text}`)
      const waiting = new AbortController()
      const { signal } = waiting
      await Promise.race([once(this.#socket, 'data', { signal }), once(this.#socket, 'close', { signal })])
      waiting.abort()
    }
  }

  /** All that came until the socket was closed. */
  async end(): Promise<string> {
    if (!this.isClosed) await once(this.#socket, 'close')
    return this.#text
  }

  drop(): void {
    this.#socket.destroy()
  }
}
