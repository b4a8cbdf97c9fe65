/**
 * A TCP relay on loopback that cuts each connection after so many bytes, in the middle of whatever
 * passes: what a MessageLink must survive, byte by byte.
 */
import { connect, createServer } from 'node:net'
import type { AddressInfo, Server, Socket } from 'node:net'

export class CuttingProxy {
  readonly #target: { readonly host: string, readonly port: number }
  readonly #bytesUntilCut: () => number
  readonly #sockets = new Set<Socket>()
  #server: Server | undefined
  cuts = 0

  constructor(target: { host: string, port: number }, bytesUntilCut: () => number) {
    this.#target = target
    this.#bytesUntilCut = bytesUntilCut
  }

  async start(): Promise<number> {
    const server = createServer({ noDelay: true }, (near) => this.#relay(near))
    this.#server = server
    await new Promise<void>((resolve) => { server.listen(0, '127.0.0.1', resolve) })
    return (server.address() as AddressInfo).port
  }

  async stop(): Promise<void> {
    const server = this.#server
    if (server === undefined) return
    this.#server = undefined
    const closed = new Promise<void>((resolve) => { server.close(() => resolve()) })
    for (const socket of this.#sockets) socket.destroy()
    await closed
  }

  /** All connections that pass now, at once and without a word. */
  cut(): void {
    this.cuts += this.#sockets.size / 2
    for (const socket of this.#sockets) socket.resetAndDestroy()
  }

  #relay(near: Socket): void {
    const far = connect({ ...this.#target, noDelay: true })
    let bytesLeft = this.#bytesUntilCut()
    const pass = (from: Socket, to: Socket): void => {
      this.#sockets.add(from)
      from
        .on('data', (chunk: Buffer) => {
          if (bytesLeft < 0) return
          const part = chunk.subarray(0, bytesLeft)
          bytesLeft -= chunk.length
          if (bytesLeft < 0) {
            this.cuts++
            // Half of a chunk arrives, the rest never does.
            to.end(part)
            from.destroy()
            return
          }
          if (!to.write(part)) {
            from.pause()
            to.once('drain', () => from.resume())
          }
        })
        .on('end', () => to.end())
        .on('error', () => {})
        .on('close', () => {
          this.#sockets.delete(from)
          to.destroySoon()
        })
    }
    pass(near, far)
    pass(far, near)
  }
}
