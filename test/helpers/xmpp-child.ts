/** The XMPP bridge in a process of its own (test/bench/xmpp-process.ts), for tests of what input costs. */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { TestCA } from './xmpp-ca.ts'
import type { XmppGround } from './xmpp-server.ts'

export interface Cost {
  /** Of the heap and beside it, after collecting garbage. */
  readonly bytes: number
  /** Of the process so far. */
  readonly cpuMs: number
}

export interface XmppChildOptions {
  readonly domain?: string
  /** True when left out. */
  readonly isArchiving?: boolean
  /** Reaches the other servers of it, and is found by them. */
  readonly ground?: XmppGround
}

export class XmppChild {
  readonly ca: TestCA
  readonly password = 'correct horse'
  readonly ports: { readonly starttls: number, readonly tls: number }
  readonly #process: ChildProcess
  readonly #lines: AsyncIterator<string>
  readonly #folder: string

  private constructor(parts: {
    ca: TestCA, process: ChildProcess, lines: AsyncIterator<string>, folder: string,
    starttls: number, tls: number,
  }) {
    this.ca = parts.ca
    this.ports = { starttls: parts.starttls, tls: parts.tls }
    this.#process = parts.process
    this.#lines = parts.lines
    this.#folder = parts.folder
  }

  /** Domain `a.test` unless another is given, accounts `loada0` … and `loadb0` …, so many of each. */
  static async start(accounts: number, options: XmppChildOptions = {}): Promise<XmppChild> {
    const { domain = 'a.test', isArchiving = true, ground } = options
    const folder = await mkdtemp(join(tmpdir(), 'openim-xmpp-child-'))
    const ca = ground?.ca ?? TestCA.create()
    const { cert, key } = ca.issue({ dns: [domain] }).writeTo(folder, domain)
    const s2s = ground === undefined ? undefined : { dnsServer: ground.dns.server, caPem: ca.pem }
    const given = { domain, cert, key, accounts, password: 'correct horse', isArchiving, s2s }
    const program = resolve(import.meta.dirname, '../bench/xmpp-process.ts')
    const child = spawn(process.execPath, ['--expose-gc', program, JSON.stringify(given)],
      { stdio: ['pipe', 'pipe', 'inherit'] })
    const lines = createInterface(child.stdout)[Symbol.asyncIterator]()
    const ready = await lines.next()
    if (ready.done === true) throw new Error('the server ended before it was ready')
    const { place, placeTls, servers, serversTls } = JSON.parse(ready.value) as Record<string, string>
    const port = (at = ''): number => Number(at.split(':').at(-1))
    ground?.publish(domain, { starttls: port(servers), tls: port(serversTls) })
    return new XmppChild({ ca, process: child, lines, folder, starttls: port(place), tls: port(placeTls) })
  }

  get pid(): number {
    return this.#process.pid!
  }

  async cost(): Promise<Cost> {
    this.#process.stdin!.write('\n')
    return JSON.parse((await this.#lines.next()).value as string) as Cost
  }

  async stop(): Promise<void> {
    const ended = once(this.#process, 'exit')
    this.#process.stdin!.end()
    await ended
    await rm(this.#folder, { recursive: true, force: true })
  }
}
