/**
 * A door with one honest device behind it, for tests that attack the door: while strangers do their
 * worst, `stillWorks` shows that the device's messages go both ways.
 */
import * as assert from 'uvu/assert'
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import type { Connector } from '../../../node/ports.ts'
import type { ConnectorCase, TestDevice, TestHost } from '../../compliance/connector-world.ts'
import { Door, drive, numberedFrame } from '../../compliance/connector-world.ts'

export class DoorScene {
  readonly door: Door
  readonly #strangers: Socket[] = []
  #host!: TestHost
  #device!: TestDevice
  #sent = 0

  constructor(transport: ConnectorCase) {
    this.door = new Door(transport)
  }

  get connector(): Connector {
    return this.door.connector
  }

  get port(): number {
    return Number(this.connector.address()!.split(':').at(-1))
  }

  async open(): Promise<void> {
    await this.door.open()
    this.#host = this.door.host()
    this.#host.answer = (session, frame) => session.send(frame)
    this.#device = this.door.device()
    this.#device.session.start()
    await this.stillWorks()
  }

  /** Ten messages to the node and back, over the link that there was from the beginning. */
  async stillWorks(): Promise<void> {
    for (let i = 0; i < 10; i++) await this.#device.session.send(numberedFrame(++this.#sent))
    await drive(this.door.clock, () => this.#device.received.length === this.#sent)
    assert.equal(this.#device.events, ['reset', 'online'])
  }

  /** Somebody who connects and says these bytes. */
  stranger(...chunks: Uint8Array[]): Stranger {
    const stranger = new Stranger(connect(this.port, '127.0.0.1'))
    this.#strangers.push(stranger.socket)
    for (const chunk of chunks) stranger.socket.write(chunk)
    return stranger
  }

  async until(done: () => boolean): Promise<void> {
    await drive(this.door.clock, done)
  }

  counter(name: string): number {
    return this.connector.metrics()[name] ?? 0
  }

  async close(): Promise<void> {
    for (const socket of this.#strangers) socket.destroy()
    await this.door.close()
  }
}

export class Stranger {
  readonly socket: Socket
  closed = false
  bytes = 0

  constructor(socket: Socket) {
    this.socket = socket
    socket
      .on('data', (data: Uint8Array) => { this.bytes += data.length })
      .on('error', () => {})
      .on('close', () => { this.closed = true })
  }
}
