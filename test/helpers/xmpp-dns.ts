/**
 * A name server for tests on a free loopback port, over UDP and TCP (RFC 1035, RFC 2782): answers what
 * it was told, `NXDOMAIN` for the rest, and misbehaves where told to. `queries` says what was asked.
 *
 * Targets of SRV records may be IP literals: ejabberd looks targets up by the C library, which knows
 * nothing of this server, and takes a literal as it is.
 */
import { createSocket } from 'node:dgram'
import type { Socket } from 'node:dgram'
import { once } from 'node:events'
import { createServer } from 'node:net'
import type { AddressInfo, Server, Socket as TcpSocket } from 'node:net'

export interface SrvRecord {
  readonly target: string
  readonly port: number
  readonly priority?: number
  readonly weight?: number
}

export type RecordType = 'A' | 'AAAA' | 'SRV' | 'TXT'
/** `silence`: no answer; `truncate`: none over UDP that fits. */
export type DnsFault = 'SERVFAIL' | 'REFUSED' | 'silence' | 'truncate'

const typeCodes: Readonly<Record<RecordType, number>> = { A: 1, TXT: 16, AAAA: 28, SRV: 33 }
const responseCodes = { NOERROR: 0, SERVFAIL: 2, NXDOMAIN: 3, REFUSED: 5 } as const
/** Seconds. The servers under test are to see changes at once. */
const timeToLive = 0
const bindTries = 20

export class TestDns {
  /** `TYPE name`, in the order asked; over TCP with ` tcp` behind it. */
  readonly queries: string[] = []
  readonly #records = new Map<string, Buffer[]>()
  readonly #faults = new Map<string, DnsFault>()
  readonly #sockets = new Set<TcpSocket>()
  readonly #udp: Socket
  readonly #tcp: Server

  private constructor(udp: Socket, tcp: Server) {
    this.#udp = udp
    this.#tcp = tcp
    udp.on('message', (query, from) => {
      const answer = this.#answer(query, 'udp')
      if (answer !== undefined) udp.send(answer, from.port, from.address)
    })
    tcp.on('connection', (socket) => this.#serve(socket))
  }

  static async start(): Promise<TestDns> {
    for (let tries = 1; ; tries++) {
      const tcp = createServer()
      tcp.listen(0, '127.0.0.1')
      await once(tcp, 'listening')
      const udp = createSocket('udp4')
      try {
        udp.bind((tcp.address() as AddressInfo).port, '127.0.0.1')
        await once(udp, 'listening')
        return new TestDns(udp, tcp)
      } catch (error) {
        tcp.close()
        if (tries === bindTries) throw error
      }
    }
  }

  get port(): number {
    return this.#udp.address().port
  }

  /** `127.0.0.1:PORT`, as `node:dns` takes it. */
  get server(): string {
    return `127.0.0.1:${this.port}`
  }

  setSrv(name: string, ...records: readonly SrvRecord[]): void {
    this.#set('SRV', name, records.map(({ target, port, priority = 0, weight = 0 }) => {
      const numbers = Buffer.alloc(6)
      for (const [i, value] of [priority, weight, port].entries()) numbers.writeUInt16BE(value, i * 2)
      return Buffer.concat([numbers, labels(target)])
    }))
  }

  setA(name: string, ...addresses: readonly string[]): void {
    this.#set('A', name, addresses.map((address) => Buffer.from(address.split('.').map(Number))))
  }

  /** @param addresses written in full or with one `::` */
  setAaaa(name: string, ...addresses: readonly string[]): void {
    this.#set('AAAA', name, addresses.map((address) => {
      const [head = [], tail = []] = address.split('::')
        .map((part) => part.split(':').filter((group) => group !== '').map((group) => parseInt(group, 16)))
      const groups = [...head, ...Array<number>(8 - head.length - tail.length).fill(0), ...tail]
      return Buffer.from(groups.flatMap((group) => [group >> 8, group & 0xff]))
    }))
  }

  setTxt(name: string, ...texts: readonly string[]): void {
    const data = texts.map((text) => Buffer.concat([Buffer.from([text.length]), Buffer.from(text)]))
    this.#set('TXT', name, data)
  }

  /** Takes a record away. */
  unset(type: RecordType, name: string): void {
    this.#records.delete(`${type} ${name}`)
  }

  /** For every question about this name; `undefined` heals. */
  setFault(name: string, fault: DnsFault | undefined): void {
    if (fault === undefined) this.#faults.delete(name)
    else this.#faults.set(name, fault)
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    this.#udp.close()
    this.#tcp.close()
    await Promise.all([once(this.#udp, 'close'), once(this.#tcp, 'close')])
  }

  #set(type: RecordType, name: string, data: Buffer[]): void {
    this.#records.set(`${type} ${name}`, data)
  }

  /** A question a message, with two bytes of length before each (RFC 1035 §4.2.2). */
  #serve(socket: TcpSocket): void {
    this.#sockets.add(socket)
    socket.on('error', () => {}).once('close', () => this.#sockets.delete(socket))
    let held = Buffer.alloc(0)
    socket.on('data', (chunk: Buffer) => {
      held = Buffer.concat([held, chunk])
      while (held.length >= 2 && held.length >= 2 + held.readUInt16BE(0)) {
        const end = 2 + held.readUInt16BE(0)
        const answer = this.#answer(held.subarray(2, end), 'tcp')
        held = held.subarray(end)
        if (answer === undefined) continue
        const size = Buffer.alloc(2)
        size.writeUInt16BE(answer.length)
        socket.write(Buffer.concat([size, answer]))
      }
    })
  }

  #answer(query: Buffer, transport: 'udp' | 'tcp'): Buffer | undefined {
    const { name, type, end } = readQuestion(query)
    const typeName = Object.entries(typeCodes).find(([, code]) => code === type)?.[0] ?? String(type)
    this.queries.push(`${typeName} ${name}${transport === 'tcp' ? ' tcp' : ''}`)
    const fault = this.#faults.get(name)
    if (fault === 'silence') return undefined
    const isCut = fault === 'truncate' && transport === 'udp'
    const failed = fault === 'SERVFAIL' || fault === 'REFUSED' ? fault : undefined
    const records = failed || isCut ? [] : this.#records.get(`${typeName} ${name}`) ?? []
    const isKnown = records.length > 0 || isCut ||
      Object.keys(typeCodes).some((one) => this.#records.has(`${one} ${name}`))
    const header = Buffer.alloc(12)
    query.copy(header, 0, 0, 2)
    const code = responseCodes[failed ?? (isKnown ? 'NOERROR' : 'NXDOMAIN')]
    header.writeUInt16BE(0x8180 | (isCut ? 0x0200 : 0) | code, 2)
    header.writeUInt16BE(1, 4)
    header.writeUInt16BE(records.length, 6)
    const answers = records.map((data) => {
      const head = Buffer.alloc(12)
      head.writeUInt16BE(0xc00c)
      head.writeUInt16BE(type, 2)
      head.writeUInt16BE(1, 4)
      head.writeUInt32BE(timeToLive, 6)
      head.writeUInt16BE(data.length, 10)
      return Buffer.concat([head, data])
    })
    return Buffer.concat([header, query.subarray(12, end), ...answers])
  }
}

function readQuestion(query: Buffer): { name: string, type: number, end: number } {
  const parts: string[] = []
  let at = 12
  while (query[at] !== 0) {
    const length = query[at]!
    parts.push(query.toString('latin1', at + 1, at + 1 + length))
    at += 1 + length
  }
  return { name: parts.join('.').toLowerCase(), type: query.readUInt16BE(at + 1), end: at + 5 }
}

/** `.` is the root: no labels. */
function labels(name: string): Buffer {
  const parts = name.split('.').filter((part) => part !== '')
  return Buffer.concat([
    ...parts.map((part) => Buffer.concat([Buffer.from([part.length]), Buffer.from(part)])), Buffer.from([0]),
  ])
}
