/**
 * Asks the web server of another domain what it says of its shield (well-known.ts). Where it is:
 *
 * ```text
 *   TXT _openim.DOMAIN  "v=openim1; host=…; port=…"     either may be left out       else
 *   DOMAIN port 443
 * ```
 *
 * DNS only says where to look: whoever answers shows a certificate for DOMAIN itself, checked as that of
 * a server of s2s is. Redirects are not followed, answers are bounded in bytes and in time.
 */
import { request } from 'node:http'
import type { IncomingMessage } from 'node:http'
import type { TLSSocket } from 'node:tls'
import type { Clock } from '../../../protocol/ports.ts'
import { xmppLimits } from '../limits.ts'
import { presentedBy } from '../s2s/certificate-path.ts'
import { S2sDialer } from '../s2s/dialer.ts'
import type { S2sPolicy } from '../s2s/policy.ts'
import type { S2sResolver, StaticTarget } from '../s2s/resolver.ts'
import { formatOffer, parseWellKnown } from './well-known.ts'
import type { Offer, WellKnown } from './well-known.ts'
import { wellKnownPath } from './names.ts'

/**
 * `absent`: the domain itself says that it has no shield. `unreachable`: nobody knows, perhaps because
 * somebody is in the way.
 */
export type NotFound = {
  readonly ok: false, readonly why: 'absent' | 'unreachable',
  /** One lower-case sentence for people. */
  readonly text: string,
}
export type Found = { readonly ok: true, readonly value: WellKnown } | NotFound

/** What the shield asks of other domains' web servers. */
export interface ShieldFinder {
  /** Never throws. */
  find(domain: string): Promise<Found>
  /** Hands an invite of ours to the other domain. `undefined`: it took it. Never throws. */
  offer(domain: string, offer: Offer): Promise<NotFound | undefined>
}

export interface FinderParts {
  readonly clock: Clock
  readonly resolver: S2sResolver
  readonly policy: S2sPolicy
}

interface Answer {
  readonly status: number
  readonly text: string
}

const httpsPort = 443
const notThere: readonly number[] = [404, 410]

export class Finder implements ShieldFinder {
  readonly #parts: FinderParts

  constructor(parts: FinderParts) {
    this.#parts = parts
  }

  async find(domain: string): Promise<Found> {
    const answer = await this.#ask(domain, { method: 'GET' })
    if ('why' in answer) return answer
    const { status, text } = answer
    if (notThere.includes(status)) return notFound('absent', `${domain} does not speak of openIM`)
    if (status !== 200) return notFound('unreachable', `the web server of ${domain} answers ${status}`)
    const value = parseWellKnown(text, domain)
    if (value === undefined) {
      return notFound('unreachable', `what the web server of ${domain} says of openIM cannot be read`)
    }
    return { ok: true, value }
  }

  async offer(domain: string, offer: Offer): Promise<NotFound | undefined> {
    const answer = await this.#ask(domain, { method: 'POST', body: formatOffer(offer) })
    if ('why' in answer) return answer
    return answer.status === 202 ? undefined
      : notFound('unreachable', `the web server of ${domain} refuses our offer with ${answer.status}`)
  }

  async #ask(
    domain: string, { method, body }: { readonly method: 'GET' | 'POST', readonly body?: string },
  ): Promise<Answer | NotFound> {
    const { clock, resolver, policy } = this.#parts
    const controller = new AbortController()
    const { signal } = controller
    const timer = clock.after(xmppLimits.shieldFindMs, () => controller.abort())
    try {
      const found = await resolver.resolvePlace(domain, await this.#place(domain))
      if (!found.ok) return notFound(found.isLasting ? 'absent' : 'unreachable', found.text)
      // No certificate of ours: the web server asks for none.
      const dialer = new S2sDialer(clock, found.targets, {
        domain, secureContext: undefined, signal, alpn: 'http/1.1',
      })
      const dialled = await dialer.next()
      if (dialled === undefined) {
        return notFound('unreachable', `the web server of ${domain} is not reached (${dialer.problem})`)
      }
      const socket = dialled.socket as TLSSocket
      try {
        const verdict = policy.judge(presentedBy(socket.getPeerX509Certificate()), domain)
        if (!verdict.ok) {
          return notFound('unreachable', `the certificate of ${domain}'s web server ${verdict.text}`)
        }
        return await exchange(socket, { domain, method, body, signal })
      } finally {
        socket.destroy()
      }
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      return notFound('unreachable', `the web server of ${domain} gave no answer (${reason})`)
    } finally {
      timer.cancel()
    }
  }

  async #place(domain: string): Promise<StaticTarget> {
    const place = { host: domain, port: httpsPort, transport: 'direct' } as const
    const answer = await this.#parts.resolver.texts(`_openim.${domain}`)
    const records = 'records' in answer ? answer.records : []
    const fields = records.map(fieldsOf).find(({ v }) => v === 'openim1')
    if (fields === undefined) return place
    const port = Number(fields['port'] ?? httpsPort)
    const isPort = Number.isInteger(port) && port > 0 && port < 65_536
    return { ...place, host: fields['host'] ?? domain, port: isPort ? port : httpsPort }
  }
}

/** `v=openim1; port=5443` */
function fieldsOf(text: string): Readonly<Record<string, string>> {
  return Object.fromEntries(text.split(';').map((field) => {
    const [name = '', value = ''] = field.split('=', 2)
    return [name.trim(), value.trim()]
  }))
}

/** One request on a connection that stands. */
function exchange(socket: TLSSocket, { domain, method, body, signal }: {
  readonly domain: string, readonly method: string, readonly body: string | undefined,
  readonly signal: AbortSignal,
}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const asked = request({
      createConnection: () => socket, method, path: wellKnownPath, signal,
      headers: {
        host: domain, accept: 'application/json', connection: 'close',
        ...body === undefined ? {} : {
          'content-type': 'application/json', 'content-length': Buffer.byteLength(body),
        },
      },
    }, (response) => { readAnswer(response).then(resolve, reject) })
    asked.on('error', reject)
    // The dialer hands it out paused.
    asked.on('socket', () => socket.resume())
    asked.end(body)
  })
}

async function readAnswer(response: IncomingMessage): Promise<Answer> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > xmppLimits.shieldAnswerBytesMax) throw new Error('the answer is too large')
    chunks.push(chunk)
  }
  return { status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString('utf8') }
}

function notFound(why: NotFound['why'], text: string): NotFound {
  return { ok: false, why, text }
}
