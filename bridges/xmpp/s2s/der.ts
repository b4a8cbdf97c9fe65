/**
 * Reads DER (X.690) as far as certificates need it: what Node parses but does not show.
 *
 * ```text
 *   tag (1 byte; higher tag numbers are refused) · length (definite, shortest form) · content
 * ```
 *
 * Strict: whatever two readers could read in two ways is refused, because another reader (OpenSSL) made
 * the other half of the decision. No library is used: `asn1js` and what stands on it read BER, keep
 * everything as objects and are thirty times this size.
 */

export interface DerValue {
  /** Class, constructed bit and number, as it stands. */
  readonly tag: number
  readonly content: Uint8Array
  /** With tag and length: for signatures and comparisons. */
  readonly whole: Uint8Array
}

export class DerError extends Error {
  override readonly name = 'DerError'
}

export const derTags = {
  boolean: 0x01, integer: 0x02, bitString: 0x03, octetString: 0x04, oid: 0x06, utf8String: 0x0c,
  ia5String: 0x16, utcTime: 0x17, generalizedTime: 0x18, sequence: 0x30, set: 0x31,
} as const

/** Values within one that are looked at: no certificate has a tenth of it. */
const childrenMax = 2_000

/** Exactly one value. */
export function readDer(bytes: Uint8Array, tag?: number): DerValue {
  const { value, end } = readAt(bytes, 0)
  if (end !== bytes.length) throw new DerError('bytes behind the value')
  if (tag !== undefined && value.tag !== tag) throw new DerError(`tag ${value.tag} instead of ${tag}`)
  return value
}

/** What a constructed value consists of. */
export function derChildren({ tag, content }: DerValue): DerValue[] {
  if ((tag & 0x20) === 0) throw new DerError('a primitive value has no parts')
  const children: DerValue[] = []
  for (let at = 0; at < content.length;) {
    const { value, end } = readAt(content, at)
    if (children.push(value) > childrenMax) throw new DerError('too many parts')
    at = end
  }
  return children
}

function readAt(bytes: Uint8Array, start: number): { value: DerValue, end: number } {
  const tag = bytes[start]
  const first = bytes[start + 1]
  if (tag === undefined || first === undefined) throw new DerError('ends within a value')
  if ((tag & 0x1f) === 0x1f) throw new DerError('a tag of several bytes')
  let at = start + 2
  let length = first
  if (first >= 0x80) {
    const size = first & 0x7f
    if (size === 0 || size > 3) throw new DerError('a length that is indefinite or too large')
    length = 0
    for (let i = 0; i < size; i++) length = length * 256 + (bytes[at++] ?? 0)
    const isLonger = length < 0x80 || length < 256 ** (size - 1)
    if (isLonger) throw new DerError('a length in more bytes than it needs')
  }
  const end = at + length
  if (end > bytes.length) throw new DerError('ends within a value')
  return { value: { tag, content: bytes.subarray(at, end), whole: bytes.subarray(start, end) }, end }
}

/** `1.2.840.…` */
export function derOid({ tag, content }: DerValue): string {
  if (tag !== derTags.oid || content.length === 0) throw new DerError('no object identifier')
  const arcs: number[] = []
  let arc = 0
  for (const [i, byte] of content.entries()) {
    if (arc === 0 && byte === 0x80) throw new DerError('an arc in more bytes than it needs')
    arc = arc * 128 + (byte & 0x7f)
    if (arc > Number.MAX_SAFE_INTEGER / 128) throw new DerError('an arc too large')
    if ((byte & 0x80) !== 0) {
      if (i === content.length - 1) throw new DerError('ends within an arc')
      continue
    }
    arcs.push(arc)
    arc = 0
  }
  const head = Math.min(2, Math.floor(arcs[0]! / 40))
  return [head, arcs[0]! - head * 40, ...arcs.slice(1)].join('.')
}

/** DER knows two truths: 0x00 and 0xff. */
export function derBoolean({ tag, content }: DerValue): boolean {
  if (tag !== derTags.boolean || content.length !== 1 || (content[0] !== 0 && content[0] !== 0xff)) {
    throw new DerError('no boolean')
  }
  return content[0] === 0xff
}

/** A small number that is not negative. */
export function derCount({ tag, content }: DerValue): number {
  const { length } = content
  const isPadded = length > 1 && content[0] === 0 && content[1]! < 0x80
  if (tag !== derTags.integer || length === 0 || length > 4 || content[0]! >= 0x80 || isPadded) {
    throw new DerError('no small number')
  }
  return content.reduce((value, byte) => value * 256 + byte, 0)
}

/** Numbers of the named bits that are set. */
export function derBits({ tag, content }: DerValue): ReadonlySet<number> {
  const unused = content[0]
  if (tag !== derTags.bitString || unused === undefined || unused > 7) throw new DerError('no bit string')
  const set = new Set<number>()
  for (const [i, byte] of content.subarray(1, 5).entries()) {
    for (let bit = 0; bit < 8; bit++) {
      if ((byte & 0x80 >> bit) !== 0) set.add(i * 8 + bit)
    }
  }
  return set
}

/** Milliseconds since 1970 of UTCTime or GeneralizedTime in the one form of RFC 5280 §4.1.2.5. */
export function derTime({ tag, content }: DerValue): number {
  const text = derAscii(content)
  const isShort = tag === derTags.utcTime
  if (!isShort && tag !== derTags.generalizedTime) throw new DerError('no time')
  const form = isShort
    ? /^(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/
    : /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/
  const parts = form.exec(text)?.slice(1).map(Number)
  if (parts === undefined) throw new DerError('a time of another form')
  const [year, month, day, hour, minute, second] = parts as [number, number, number, number, number, number]
  const fullYear = !isShort ? year : year < 50 ? 2000 + year : 1900 + year
  return Date.UTC(fullYear, month - 1, day, hour, minute, second)
}

/** Bytes as text, refused beyond ASCII. */
export function derAscii(content: Uint8Array): string {
  if (content.some((byte) => byte >= 0x80)) throw new DerError('a letter beyond ASCII')
  return String.fromCharCode(...content.subarray(0, 4_096))
}
