/**
 * Debian's mosquitto, a private instance, as the measure of what an idle device and a new one may
 * cost: one process in C that keeps connections in clear and knows its clients by name. Ours
 * shakes hands and encrypts, so ours has more to do.
 */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { utf8 } from '../../crypto/bytes.ts'
import { needProgram } from '../helpers/debian.ts'

const connectsAtOnce = 64
const keepAliveSeconds = 600
/** The accepting CONNACK (MQTT 3.1.1 §3.2). */
const connackBytes = 4
const kibibyte = 1_024
/** Clock ticks a second, as Linux shows them to everybody. */
const ticksPerSecond = 100

export class Mosquitto {
  readonly #folder: string
  readonly #process: ChildProcess
  readonly #port: number
  #clients: Socket[] = []

  /** `undefined`: it is not here. */
  static async start(): Promise<Mosquitto | undefined> {
    const program = await needProgram('mosquitto')
    if (program === undefined) return undefined
    const folder = await mkdtemp(join(tmpdir(), 'openim-mosquitto-'))
    const port = await freePort()
    const config = join(folder, 'mosquitto.conf')
    // As root it would become another user, who cannot read the folder.
    const user = process.getuid?.() === 0 ? ['user root'] : []
    await writeFile(config, [
      `listener ${port} 127.0.0.1`, 'allow_anonymous true', 'persistence false', 'log_type none',
      'max_connections -1', ...user, '',
    ].join('\n'))
    const child = spawn(program, ['-c', config], { stdio: 'ignore' })
    const mosquitto = new Mosquitto({ folder, child, port })
    for (let tries = 0; tries < 100 && child.exitCode === null; tries++) {
      if (await mosquitto.connect(1).then(() => true, () => false)) return mosquitto
      await new Promise((resolve) => { setTimeout(resolve, 50) })
    }
    await mosquitto.stop()
    throw new Error('mosquitto does not listen')
  }

  private constructor(parts: { folder: string, child: ChildProcess, port: number }) {
    this.#folder = parts.folder
    this.#process = parts.child
    this.#port = parts.port
  }

  /** Connects so many more clients; seconds that it took. */
  async connect(count: number): Promise<number> {
    let next = 0
    const startMs = performance.now()
    await Promise.all(Array.from({ length: connectsAtOnce }, async () => {
      for (let i = next++; i < count; i = next++) await this.#connectOne()
    }))
    return (performance.now() - startMs) / 1_000
  }

  async rssBytes(): Promise<number> {
    const status = await readFile(`/proc/${this.#process.pid}/status`, 'utf8')
    return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)![1]) * kibibyte
  }

  /** CPU µs so far. */
  async cpu(): Promise<number> {
    const fields = (await readFile(`/proc/${this.#process.pid}/stat`, 'utf8')).split(') ')[1]!.split(' ')
    return ((Number(fields[11]) + Number(fields[12])) * 1e6) / ticksPerSecond
  }

  leave(): void {
    for (const client of this.#clients.splice(0)) client.destroy()
  }

  async stop(): Promise<void> {
    this.leave()
    if (this.#process.exitCode === null) {
      const ended = once(this.#process, 'exit')
      this.#process.kill('SIGKILL')
      await ended
    }
    await rm(this.#folder, { recursive: true, force: true })
  }

  async #connectOne(): Promise<void> {
    const socket = connect({ host: '127.0.0.1', port: this.#port, noDelay: true })
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    socket.once('error', reject)
    socket.once('data', (answer: Uint8Array) => {
      if (answer.length === connackBytes && answer[3] === 0) resolve()
      else reject(new Error('mosquitto refuses a client'))
    })
    socket.write(connectPacket(`device-${this.#clients.length}-${socket.localPort ?? 0}`))
    this.#clients.push(socket)
    await promise
    socket.removeAllListeners('error').on('error', () => {})
  }
}

/** MQTT 3.1.1 §3.1, a clean session. */
function connectPacket(clientId: string): Uint8Array {
  const id = utf8(clientId)
  const keepAlive = [keepAliveSeconds >> 8, keepAliveSeconds & 0xff]
  const rest = [0, 4, ...utf8('MQTT'), 4, 2, ...keepAlive, 0, id.length, ...id]
  return new Uint8Array([0x10, rest.length, ...rest])
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => { server.listen(0, '127.0.0.1', resolve) })
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => { server.close(resolve) })
  return port
}
