/**
 * What the private XMPP servers of tests have in common (prosody-server.ts, ejabberd-server.ts): a
 * domain with its certificate, free ports on loopback, records in the test's own name server, accounts,
 * and a life that can be cut short.
 *
 * ```ts
 * const ground = await XmppGround.create()
 * const a = await startProsody(ground, { domain: 'a.test', accounts: { alice: 'secret' } })
 * const b = await startEjabberd(ground, { domain: 'b.test', accounts: { bob: 'secret' } })
 * await a.kill()
 * await a.start()
 * await ground.remove()             // with all servers of it
 * ```
 */
import { chownSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { DatabaseProcess } from './database-process.ts'
import { freePort } from './free-port.ts'
import { TestCA } from './xmpp-ca.ts'
import type { Issued } from './xmpp-ca.ts'
import { TestDns } from './xmpp-dns.ts'

export interface XmppServerOptions {
  readonly domain: string
  /** Default: of the ground's authority, for the domain and what is below it. */
  readonly certificate?: Issued
  /** Password by local part. */
  readonly accounts?: Readonly<Record<string, string>>
  /** Whether other servers need a valid certificate; else dialback may do. Default true. */
  readonly needsCertificate?: boolean
  /** Which records other servers find. Default both. */
  readonly doors?: readonly ('starttls' | 'tls')[]
  /** Whether messages are archived without being asked for. Default true. */
  readonly hasArchive?: boolean
  /** Writes only errors down: for those that are measured. Default false. */
  readonly isQuiet?: boolean
  /** More lines for its configuration, in its own language, at the top level. */
  readonly extra?: string
}

export interface XmppPorts {
  readonly c2s: number
  readonly c2sTls: number
  readonly s2s: number
  readonly s2sTls: number
  readonly http: number
}

/** What every server of a test stands on: one authority, one name server. */
export class XmppGround {
  readonly ca: TestCA
  readonly dns: TestDns
  readonly #servers: XmppServer[] = []

  private constructor(ca: TestCA, dns: TestDns) {
    this.ca = ca
    this.dns = dns
  }

  static async create(): Promise<XmppGround> {
    return new XmppGround(TestCA.create(), await TestDns.start())
  }

  /** What both kinds of server begin with. */
  async prepare(options: XmppServerOptions): Promise<PreparedServer> {
    const { domain, doors = ['starttls', 'tls'] } = options
    const ports = {
      c2s: await freePort(), c2sTls: await freePort(), s2s: await freePort(), s2sTls: await freePort(),
      http: await freePort(),
    }
    this.publish(domain, { starttls: ports.s2s, tls: ports.s2sTls }, doors)
    const certificate = options.certificate ?? this.ca.issue({ dns: [domain, `*.${domain}`] })
    return { ...options, ports, certificate, caPem: this.ca.pem, dnsPort: this.dns.port }
  }

  /** Records of a domain and its services for other servers, on loopback. */
  publish(
    domain: string,
    ports: { readonly starttls: number, readonly tls: number },
    doors: readonly ('starttls' | 'tls')[] = ['starttls', 'tls'],
  ): void {
    for (const name of [domain, `conference.${domain}`, `rooms.${domain}`]) {
      for (const [door, service] of [['starttls', '_xmpp-server'], ['tls', '_xmpps-server']] as const) {
        const records = doors.includes(door) ? [{ target: '127.0.0.1', port: ports[door] }] : []
        this.dns.setSrv(`${service}._tcp.${name}`, ...records)
      }
    }
  }

  add(server: XmppServer): XmppServer {
    this.#servers.push(server)
    return server
  }

  async remove(): Promise<void> {
    await Promise.all(this.#servers.map((server) => server.remove()))
    await this.dns.stop()
  }
}

export interface PreparedServer extends XmppServerOptions {
  readonly ports: XmppPorts
  readonly certificate: Issued
  readonly caPem: string
  readonly dnsPort: number
}

/** One that runs, or was killed. */
export class XmppServer {
  readonly domain: string
  readonly ports: XmppPorts
  readonly #process: DatabaseProcess

  constructor({ domain, ports }: PreparedServer, process: DatabaseProcess) {
    this.domain = domain
    this.ports = ports
    this.#process = process
  }

  get pid(): number {
    return this.#process.pid
  }

  /** After `kill` or `stop`, with the data it had. */
  async start(): Promise<void> {
    await this.#process.start()
  }

  /** kill −9. */
  async kill(): Promise<void> {
    await this.#process.kill()
  }

  async stop(): Promise<void> {
    await this.#process.stop()
  }

  freeze(): void {
    this.#process.freeze()
  }

  thaw(): void {
    this.#process.thaw()
  }

  async remove(): Promise<void> {
    await this.#process.remove()
  }

  /** What it wrote down about itself; for the message of a failing test. */
  get log(): string {
    return readFileSync(join(this.#process.folder, 'log'), 'utf8')
  }
}

/** Files of a server by path in its folder, for its user. */
export function writeFiles(folder: string, files: Readonly<Record<string, string>>): void {
  const { uid, gid } = statSync(folder)
  for (const [name, text] of Object.entries(files)) {
    const path = join(folder, name)
    for (const made of parents(name)) {
      mkdirSync(join(folder, made), { recursive: true })
      chownSync(join(folder, made), uid, gid)
    }
    writeFileSync(path, text)
    chownSync(path, uid, gid)
  }
}

/** Folders above a name, the highest first. */
function parents(name: string): string[] {
  const above = dirname(name)
  return above === '.' ? [] : [...parents(above), above]
}
