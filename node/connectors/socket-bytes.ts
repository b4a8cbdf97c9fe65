/** A `net.Socket` as the `ByteTransport` under a StreamLink. */
import type { Socket } from 'node:net'
import type { ByteTransport, ByteTransportListener } from '../../protocol/session/byte-transport.ts'

export class SocketBytes implements ByteTransport {
  readonly #socket: Socket
  #ended = false

  constructor(socket: Socket) {
    this.#socket = socket
    socket.setNoDelay(true)
  }

  get bufferedBytes(): number {
    return this.#socket.writableLength
  }

  write(bytes: Uint8Array): void {
    if (this.#socket.writable) this.#socket.write(bytes)
  }

  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
  }

  end(): void {
    this.#ended = true
    this.#socket.end()
    // Unread bytes at close would turn our FIN into a reset, and the peer lose what we sent last.
    this.#socket.resume()
  }

  destroy(): void {
    this.#socket.destroy()
  }

  listen(listener: ByteTransportListener): void {
    let orderly = false
    this.#socket
      .on('data', (chunk: Uint8Array) => { if (!this.#ended) listener.bytes(chunk) })
      .on('drain', () => listener.drain())
      .on('end', () => { orderly = true })
      // 'close' follows and says it all; which errno broke a connection helps nobody.
      .on('error', () => { orderly = false })
      .on('close', () => listener.closed(orderly))
  }
}
