/**
 * Addresses of XMPP (RFC 7622): `local@domain/resource`. Ours are held to the PRECIS profiles; those of
 * others are compared after the same preparation where it succeeds, and taken as they are where an
 * older server (RFC 3920, stringprep) allows more than we do.
 *
 * PRECIS as the tables of Unicode that the engine carries have it: the context rules of joiners
 * (RFC 5892 appendix A) are a refusal here, and the Bidi rule (RFC 5893) is not looked at.
 */
import { isIPv4, isIPv6 } from 'node:net'
import { domainToASCII, domainToUnicode } from 'node:url'
import { xmppLimits } from './limits.ts'

/** Of each part, in bytes of UTF-8 (RFC 7622 §3). */
const partBytesMax = 1_023
/** RFC 7622 §3.3.1; a space is none of PRECIS either. */
const forbiddenInLocal = /["&'/:<>@]/
/** PRECIS IdentifierClass (RFC 8264 §4.2): letters, digits and marks, or visible ASCII. */
const identifier = /^[\x21-\x7e\p{Ll}\p{Lu}\p{Lo}\p{Lm}\p{Mn}\p{Mc}\p{Nd}]+$/u
/** What no address of anybody has: control characters, and in front of the slash white space. */
const unusable = /[\p{Cc}\p{Cs}\ufffe\uffff]/u
const unusableInLocal = /[\p{Cc}\p{Cs}\s\ufffe\uffff]/u
/** PRECIS FreeformClass leaves out what is unassigned, private or ignorable (RFC 8264 §4.3). */
const notFreeform = /[\p{Cc}\p{Cs}\p{Cn}\p{Co}\p{Default_Ignorable_Code_Point}]/u
const spaces = /\p{Zs}/gu
/** RFC 8265 §3.3.1: these are compared as their ordinary forms. */
const wide = /[\uff01-\uffef]/g
const asciiDomain = /^[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*$/
const internationalDomain = /^[\p{L}\p{M}\p{N}._\u3002\uff0e\uff61-]+$/u
export class Jid {
  /** Empty: none. */
  readonly local: string
  readonly domain: string
  /** Empty: none. */
  readonly resource: string

  /** Takes parts that were prepared already; `Jid.parse` prepares. */
  constructor(local: string, domain: string, resource = '') {
    this.local = local
    this.domain = domain
    this.resource = resource
  }

  get isBare(): boolean {
    return this.resource === ''
  }

  /** `local@domain`, or `domain`. */
  get bare(): string {
    return this.local === '' ? this.domain : `${this.local}@${this.domain}`
  }

  toBare(): Jid {
    return this.resource === '' ? this : new Jid(this.local, this.domain)
  }

  withResource(resource: string): Jid {
    return new Jid(this.local, this.domain, resource)
  }

  equals(other: Jid): boolean {
    return this.local === other.local && this.domain === other.domain && this.resource === other.resource
  }

  toString(): string {
    return this.resource === '' ? this.bare : `${this.bare}/${this.resource}`
  }

  /** `undefined`: malformed. Each part has 1 to 1,023 bytes of UTF-8. Kept for those that come often. */
  static parse(text: string): Jid | undefined {
    const known = recent.get(text) ?? older.get(text)
    if (known !== undefined) return known
    const jid = parsed(text, false)
    if (jid !== undefined && text.length <= xmppLimits.jidKeptCharactersMax) keep(text, jid)
    return jid
  }

  /** For addresses of ours: `undefined` as well where PRECIS refuses what older servers allow. */
  static parseStrict(text: string): Jid | undefined {
    return parsed(text, true)
  }
}

/** Two halves: the older one is dropped whole, so a flood of addresses costs a bounded store. */
let recent = new Map<string, Jid>()
let older = new Map<string, Jid>()

function keep(text: string, jid: Jid): void {
  if (recent.size >= xmppLimits.jidsKeptMax / 2) {
    older = recent
    recent = new Map()
  }
  recent.set(text, jid)
}

function parsed(text: string, isStrict: boolean): Jid | undefined {
  const slash = text.indexOf('/')
  const bare = slash === -1 ? text : text.slice(0, slash)
  const at = bare.indexOf('@')
  const local = at === -1 ? '' : preparedLocal(bare.slice(0, at), isStrict)
  const domain = preparedDomain(bare.slice(at + 1))
  const resource = slash === -1 ? '' : preparedResource(text.slice(slash + 1), isStrict)
  if (local === undefined || domain === undefined || resource === undefined) return undefined
  return new Jid(local, domain, resource)
}

/** UsernameCaseMapped (RFC 8265 §3.3). */
function preparedLocal(given: string, isStrict: boolean): string | undefined {
  if (forbiddenInLocal.test(given) || unusableInLocal.test(given)) return undefined
  const mapped = given.replace(wide, (one) => one.normalize('NFKC')).toLowerCase().normalize('NFC')
  if (!isPart(mapped) || forbiddenInLocal.test(mapped)) return undefined
  const isPrecis = identifier.test(mapped) && mapped.normalize('NFKC') === mapped
  if (isPrecis) return mapped
  return isStrict ? undefined : given.toLowerCase()
}

/** OpaqueString (RFC 8265 §4.2): no case is mapped. */
function preparedResource(given: string, isStrict: boolean): string | undefined {
  if (unusable.test(given)) return undefined
  const mapped = given.replace(spaces, ' ').normalize('NFC')
  if (!isPart(mapped)) return undefined
  return isStrict && notFreeform.test(mapped) ? undefined : mapped
}

/**
 * U-labels (RFC 7622 §3.2.1). Node's conversion is that of URLs: it would also decode `%61`, cut at a
 * slash and take `1.2` for an address, so it is shown nothing but names.
 */
function preparedDomain(given: string): string | undefined {
  const name = given.endsWith('.') ? given.slice(0, -1) : given
  if (name.startsWith('[')) {
    return name.endsWith(']') && isIPv6(name.slice(1, -1)) ? name.toLowerCase() : undefined
  }
  const lower = name.toLowerCase()
  if (asciiDomain.test(lower) && !lower.includes('xn--')) return isPart(lower) ? lower : undefined
  if (!internationalDomain.test(name) || !isPart(name)) return undefined
  const ascii = domainToASCII(name)
  if (!asciiDomain.test(ascii) || isIPv4(ascii)) return undefined
  const unicode = domainToUnicode(ascii)
  return isPart(unicode) ? unicode : undefined
}

function isPart(text: string): boolean {
  return text !== '' && (text.length * 3 <= partBytesMax || Buffer.byteLength(text) <= partBytesMax)
}

const escapeSequence = /\\(20|22|26|27|2f|3a|3c|3e|40|5c)/gi

/** Any text as a local part (XEP-0106); `undefined` where it cannot be one: a space at an end. */
export function escapeLocal(text: string): string | undefined {
  if (text === '' || text.startsWith(' ') || text.endsWith(' ')) return undefined
  // A backslash needs it where what follows would be read as a sequence.
  return text.replace(escapeSequence, (found) => `\\5c${found.slice(1)}`)
    .replace(/[ "&'/:<>@]/g, (one) => `\\${one.charCodeAt(0).toString(16)}`)
}

export function unescapeLocal(local: string): string {
  return local.replace(escapeSequence, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
}
