/**
 * One client of the XMPP load: TLS from the first byte, SCRAM-SHA-1, a resource, and then nothing but the
 * bodies of messages, found without a parser so that it costs little beside the server. The same against
 * every server.
 */
import { once } from 'node:events'
import { connect } from 'node:tls'
import type { TLSSocket } from 'node:tls'
import { ScramClient } from '../helpers/scram-client.ts'

export interface LoadTarget {
  readonly domain: string
  /** Of the door with TLS from the first byte, on loopback. */
  readonly port: number
}

export interface LoadAccount extends LoadTarget {
  readonly local: string
  readonly resource: string
}

/** Of every account of the bench. */
export const loadPassword = 'correct horse'

const saslNs = 'urn:ietf:params:xml:ns:xmpp-sasl'
/** Longer than anything that `<body>` and its number take. */
const tailCharacters = 32
const body = /<body>(\d+)#/g

export class LoadClient {
  readonly jid: string
  readonly #socket: TLSSocket
  #text = ''
  #isClosed = false
  #onBody: ((number: number) => void) | undefined
  #changed: () => void = () => {}

  private constructor(socket: TLSSocket, { local, domain, resource }: LoadAccount) {
    this.#socket = socket
    this.jid = `${local}@${domain}/${resource}`
    socket.setNoDelay(true).setEncoding('utf8')
    socket.on('data', (text: string) => this.#heard(text))
    socket.on('error', () => {}).on('close', () => {
      this.#isClosed = true
      this.#changed()
    })
  }

  /** Online, and available where that is wanted. */
  static async login(account: LoadAccount, { isAvailable }: { isAvailable: boolean }): Promise<LoadClient> {
    const { domain, port, local, resource } = account
    const socket = connect({
      host: '127.0.0.1', port, servername: domain, rejectUnauthorized: false, ALPNProtocols: ['xmpp-client'],
    })
    const client = new LoadClient(socket, account)
    await once(socket, 'secureConnect')
    const header = `<?xml version='1.0'?><stream:stream to='${domain}' version='1.0' xmlns='jabber:client'`
      + ` xmlns:stream='http://etherx.jabber.org/streams'>`
    client.say(header)
    await client.hears('</stream:features>')
    const scram = new ScramClient({ hash: 'sha1', username: local, password: loadPassword })
    const base64 = (text: string): string => Buffer.from(text).toString('base64')
    client.say(`<auth xmlns='${saslNs}' mechanism='SCRAM-SHA-1'>${base64(scram.first())}</auth>`)
    const challenge = /<challenge[^>]*>([^<]+)</.exec(await client.hears(/<\/challenge>|<failure/))
    if (challenge === null) throw new Error(`${client.jid} was refused`)
    const answer = base64(scram.final(Buffer.from(challenge[1]!, 'base64').toString()))
    client.say(`<response xmlns='${saslNs}'>${answer}</response>`)
    await client.hears('</success>')
    client.say(header)
    await client.hears('</stream:features>')
    client.say(`<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>`
      + `<resource>${resource}</resource></bind></iq>`)
    await client.hears('</jid>')
    if (isAvailable) client.say('<presence/>')
    return client
  }

  get bareJid(): string {
    return this.jid.slice(0, this.jid.indexOf('/'))
  }

  say(text: string): void {
    this.#socket.write(text)
  }

  /** A message that is `number` to whoever gets it; 100 bytes of body. */
  message(to: string, number: number): void {
    this.say(`<message to='${to}' type='chat' id='m${number}'><body>${`${number}#`.padEnd(100, 'x')}`
      + `</body></message>`)
  }

  /** From now on it hears nothing but numbers of messages. */
  listen(onBody: (number: number) => void): void {
    this.#onBody = onBody
    this.#heard('')
  }

  /** What came until `end` did; forgets it. */
  async hears(end: string | RegExp): Promise<string> {
    for (;;) {
      if (this.#text.search(end) !== -1) {
        const text = this.#text
        this.#text = ''
        return text
      }
      if (this.#isClosed) throw new Error(`${this.jid}: the stream ended before ${end}: ${this.#text}`)
      await new Promise<void>((resolve) => { this.#changed = resolve })
    }
  }

  /** XEP-0198: how many of its stanzas the server has for good. Only of one that does not `listen`. */
  async handled(): Promise<number> {
    this.say(`<r xmlns='urn:xmpp:sm:3'/>`)
    return Number(/<a [^>]*h=['"](\d+)/.exec(await this.hears(/<a [^>]*h=['"]\d+['"][^>]*>/))![1])
  }

  async leave(): Promise<void> {
    if (this.#isClosed) return
    const closed = once(this.#socket, 'close')
    this.#socket.end('</stream:stream>')
    await closed
  }

  #heard(text: string): void {
    this.#text += text
    this.#changed()
    if (this.#onBody === undefined) return
    let end = 0
    for (const match of this.#text.matchAll(body)) {
      end = match.index + match[0].length
      this.#onBody(Number(match[1]))
    }
    this.#text = this.#text.slice(Math.max(end, this.#text.length - tailCharacters))
  }
}
