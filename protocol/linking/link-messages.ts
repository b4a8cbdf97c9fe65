/**
 * What two devices say while one lets the other into its account, inside the linking channel
 * (link-channel.ts).
 *
 * ```text
 *   u8 tag, then
 *     1 hello     new → old    opaque proof[32], text name<V>, opaque comparison<V>
 *     2 answer    old → new    opaque proof[32], opaque rootKey[32], text name<V>,
 *                              text doors<V> each, opaque comparison<V>
 *     3 reveal    new → old    opaque comparison<V>
 *     4 request   new → old    opaque bytes<V>      device-request.ts
 *     5 package   old → new    opaque bytes<V>      link-package.ts
 *     6 done      new → old    nothing: the account is stored
 *     7 end       both ways    text code<V>: nothing comes of it
 * ```
 *
 * `proof` shows that a side knows the token of the link code; `comparison` is a message of
 * crypto/short-auth.ts, in which the new device speaks first.
 */
import type { Result } from '../../crypto/errors.ts'
import { concat } from '../../crypto/bytes.ts'
import { encode, fixed, opaque, struct, text, tryDecode, vector } from '../codec/struct.ts'
import type { Codec } from '../codec/struct.ts'
import { limits } from '../limits.ts'

export type LinkMessage =
  | {
    readonly type: 'hello'
    readonly proof: Uint8Array
    /** The new device's. */
    readonly name: string
    readonly comparison: Uint8Array
  }
  | {
    readonly type: 'answer'
    readonly proof: Uint8Array
    readonly rootKey: Uint8Array
    /** The account's. */
    readonly name: string
    /** Addresses of the node's doors, for later. */
    readonly doors: string[]
    readonly comparison: Uint8Array
  }
  | { readonly type: 'reveal', readonly comparison: Uint8Array }
  | { readonly type: 'request', readonly bytes: Uint8Array }
  | { readonly type: 'package', readonly bytes: Uint8Array }
  | { readonly type: 'done' }
  | { readonly type: 'end', readonly code: string }

const comparison = opaque(64)
const name = text(limits.nameBytesMax)

type Codecs = {
  readonly [T in LinkMessage['type']]: {
    readonly tag: number
    readonly codec: Codec<Omit<Extract<LinkMessage, { type: T }>, 'type'>>
  }
}

const codecs: Codecs = {
  hello: { tag: 1, codec: struct({ proof: fixed(32), name, comparison }) },
  answer: {
    tag: 2,
    codec: struct({
      proof: fixed(32),
      rootKey: fixed(32),
      name,
      doors: vector(text(limits.nodeAddressBytesMax), limits.nodeAddressesMax),
      comparison,
    }),
  },
  reveal: { tag: 3, codec: struct({ comparison }) },
  request: { tag: 4, codec: struct({ bytes: opaque(limits.linkPartBytesMax) }) },
  package: { tag: 5, codec: struct({ bytes: opaque(limits.linkPartBytesMax) }) },
  done: { tag: 6, codec: struct({}) },
  end: { tag: 7, codec: struct({ code: text(limits.refusalCodeBytesMax) }) },
}

const byTag = new Map(Object.entries(codecs).map(([type, { tag, codec }]) => [tag, { type, codec }]))

export function encodeLinkMessage(message: LinkMessage): Uint8Array {
  const { tag, codec } = codecs[message.type]
  return concat(new Uint8Array([tag]), encode(codec as Codec<LinkMessage>, message))
}

/** Refuses with CODEC_*. */
export function decodeLinkMessage(bytes: Uint8Array): Result<LinkMessage> {
  const entry = byTag.get(bytes[0] ?? 0)
  if (entry === undefined) return { ok: false, code: 'CODEC_UNKNOWN', detail: 'not a linking message' }
  const fields = tryDecode(entry.codec as Codec<object>, bytes.subarray(1))
  return fields.ok ? { ok: true, value: { type: entry.type, ...fields.value } as LinkMessage } : fields
}
