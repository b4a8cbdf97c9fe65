/** A socket, a TLS socket or an HTTP/2 stream as the `ByteTransport` under a StreamLink. */
import type { Duplex } from 'node:stream'
import type { ByteTransport, ByteTransportListener } from '../../protocol/session/byte-transport.ts'

export class DuplexBytes implements ByteTransport {
  readonly #stream: Duplex
  #ended = false

  constructor(stream: Duplex) {
    this.#stream = stream
  }

  get bufferedBytes(): number {
    return this.#stream.writableLength
  }

  write(bytes: Uint8Array): void {
    if (this.#stream.writable) this.#stream.write(bytes)
  }

  pause(): void {
    this.#stream.pause()
  }

  resume(): void {
    this.#stream.resume()
  }

  end(): void {
    this.#ended = true
    this.#stream.end()
    // Unread bytes at close would turn our FIN into a reset, and the peer lose what we sent last.
    this.#stream.resume()
  }

  destroy(): void {
    this.#stream.destroy()
  }

  listen(listener: ByteTransportListener): void {
    let orderly = false
    this.#stream
      .on('data', (chunk: Uint8Array) => { if (!this.#ended) listener.bytes(chunk) })
      .on('drain', () => listener.drain())
      .on('end', () => {
        orderly = true
        // Sockets do this by themselves, HTTP/2 streams would stay half open.
        this.#stream.end()
      })
      // 'close' follows and says it all; which errno broke a connection helps nobody.
      .on('error', () => { orderly = false })
      .on('close', () => listener.closed(orderly))
  }
}
