/**
 * SASL as XML, in its two forms: RFC 6120 §6 (`<auth/>`, then a new stream) and XEP-0388 (`<authenticate/>`,
 * which carries along what the client wants next).
 *
 * ```text
 *   <auth mechanism='M'>base64</auth>            <authenticate mechanism='M'>
 *                                                  <initial-response>base64</initial-response>
 *                                                  <user-agent id='…'/> <bind/> <resume/> <fast/>
 *   <challenge/> <response/> <abort/>            the same
 *   <success>base64</success>                    <success><additional-data/> … </success>
 * ```
 */
import type { TokenUse } from '../auth/hashed-tokens.ts'
import { decodeBase64, encodeBase64 } from '../auth/sasl.ts'
import type { SaslCondition, SaslFailure } from '../auth/sasl.ts'
import { xmppLimits } from '../limits.ts'
import { el } from '../xml/element.ts'
import type { XmlElement } from '../xml/element.ts'
import { ns } from '../xml/names.ts'

export interface SaslRequest {
  readonly profile: SaslProfile
  readonly mechanism: string
  /** `undefined`: the client waits for an empty challenge first. */
  readonly initial: Uint8Array | undefined
  // ── XEP-0388 alone ──
  readonly clientId?: string
  readonly bind?: XmlElement
  readonly resume?: XmlElement
  /** XEP-0484: logs in by a token. */
  readonly token?: TokenUse
  /** XEP-0484: the mechanism it wants a token for. */
  readonly tokenFor?: string
}

export class SaslProfile {
  /** `ns.sasl` or `ns.sasl2`. */
  readonly ns: string

  constructor(namespace: string) {
    this.ns = namespace
  }

  challenge(data: Uint8Array): XmlElement {
    return el(this.ns, 'challenge', {}, encodeBase64(data))
  }

  failure({ condition, text }: SaslFailure): XmlElement {
    return el(this.ns, 'failure', {},
      el(ns.sasl, condition),
      text === undefined ? undefined : el(this.ns, 'text', { 'xml:lang': 'en' }, text))
  }

  /** Data of a `<response/>`; `undefined`: no base64. */
  response(element: XmlElement): Uint8Array | undefined {
    return dataOf(element.text)
  }
}

/** Reads `<auth/>` or `<authenticate/>`, or says why it cannot be. */
export function saslRequest(element: XmlElement): SaslRequest | SaslCondition {
  const profile = new SaslProfile(element.ns)
  const { mechanism } = element.attrs
  if (mechanism === undefined) return 'invalid-mechanism'
  const given = element.ns === ns.sasl2 ? element.childText('initial-response') : element.text
  const isAbsent = given === undefined || element.ns === ns.sasl && given === ''
  const initial = isAbsent ? undefined : dataOf(given)
  if (!isAbsent && initial === undefined) return 'incorrect-encoding'
  if (element.ns === ns.sasl) return { profile, mechanism, initial }
  const clientId = element.child('user-agent')?.attrs.id
  if (Buffer.byteLength(clientId ?? '') > xmppLimits.clientIdBytesMax) return 'malformed-request'
  const fast = element.child('fast', ns.fast)
  const token = fast === undefined ? undefined : tokenUse(fast, clientId)
  if (fast !== undefined && token === undefined) return 'malformed-request'
  const bind = element.child('bind', ns.bind2)
  const resume = element.child('resume', ns.sm)
  const tokenFor = element.child('request-token', ns.fast)?.attrs.mechanism
  return {
    profile, mechanism, initial,
    ...clientId === undefined ? {} : { clientId },
    ...bind === undefined ? {} : { bind },
    ...resume === undefined ? {} : { resume },
    ...token === undefined ? {} : { token },
    ...tokenFor === undefined ? {} : { tokenFor },
  }
}

/** White space around the data is what the XEP's own examples have; an equals sign alone is no data. */
function dataOf(text: string): Uint8Array | undefined {
  const trimmed = text.trim()
  return decodeBase64(trimmed === '=' ? '' : trimmed)
}

/** A token belongs to a client that names itself. */
function tokenUse({ attrs }: XmlElement, clientId: string | undefined): TokenUse | undefined {
  const { count, invalidate } = attrs
  if (clientId === undefined || count !== undefined && !/^\d{1,15}$/.test(count)) return undefined
  return {
    clientId,
    invalidate: invalidate === 'true' || invalidate === '1',
    ...count === undefined ? {} : { count: Number(count) },
  }
}
