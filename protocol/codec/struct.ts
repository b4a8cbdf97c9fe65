/**
 * Declarative codecs: a wire struct is a list of named fields, and encoder and decoder come from
 * the same list, so they cannot drift apart.
 *
 * ```ts
 * const pingCodec = struct<Ping>({ nonce: u32, sentAtMs: u64, note: text(200) })
 * const bytes = encode(pingCodec, { nonce: 7, sentAtMs: 0, note: 'hi' })
 * const ping = tryDecode(pingCodec, bytes)   // { ok: true, value } or { ok: false, code, detail }
 * ```
 *
 * A decoder consumes all of its input or refuses.
 */
import { assert, OpenIMError } from '../../crypto/errors.ts'
import type { Result } from '../../crypto/errors.ts'
import { utf8, utf8Decode } from '../../crypto/bytes.ts'
import { Reader } from './reader.ts'
import { Writer } from './writer.ts'

export interface Codec<T> {
  write(writer: Writer, value: T): void
  /** @throws OpenIMError with a `CODEC_*` code */
  read(reader: Reader): T
}

export const u8: Codec<number> = { write: (w, v) => w.u8(v), read: (r) => r.u8() }
export const u16: Codec<number> = { write: (w, v) => w.u16(v), read: (r) => r.u16() }
export const u32: Codec<number> = { write: (w, v) => w.u32(v), read: (r) => r.u32() }
export const u64: Codec<number> = { write: (w, v) => w.u64(v), read: (r) => r.u64() }
export const varint: Codec<number> = { write: (w, v) => w.varint(v), read: (r) => r.varint() }

export const bool: Codec<boolean> = {
  write: (w, v) => w.u8(v ? 1 : 0),
  read(r) {
    const value = r.u8()
    if (value > 1) throw r.refuse('CODEC_RANGE', `a boolean of value ${value}`)
    return value === 1
  },
}

/** Exactly `length` bytes; decoded as a view of the input. */
export function fixed(length: number): Codec<Uint8Array> {
  return { write: (w, v) => w.fixed(v, length), read: (r) => r.fixed(length) }
}

/** Up to `lengthMax` bytes behind a varint length; decoded as a view of the input. */
export function opaque(lengthMax: number): Codec<Uint8Array> {
  return {
    write(w, v) {
      if (v.length > lengthMax) assert(false, `field of ${v.length} bytes, the limit is ${lengthMax}`)
      w.opaque(v)
    },
    read: (r) => r.opaque(lengthMax),
  }
}

/** UTF-8 of up to `bytesMax` bytes. */
export function text(bytesMax: number): Codec<string> {
  const bytes = opaque(bytesMax)
  return {
    write: (w, v) => bytes.write(w, utf8(v)),
    read(r) {
      const value = bytes.read(r)
      try {
        return utf8Decode(value)
      } catch {
        throw r.refuse('CODEC_UTF8', 'a text field is not valid UTF-8')
      }
    },
  }
}

/** A varint count, then the items. Every item must take at least one byte. */
export function vector<T>(item: Codec<T>, countMax: number): Codec<T[]> {
  return {
    write(w, items) {
      assert(items.length <= countMax, `vector of ${items.length} items, the limit is ${countMax}`)
      w.varint(items.length)
      for (const value of items) item.write(w, value)
    },
    read(r) {
      const count = r.varint()
      if (count > countMax) throw r.refuse('CODEC_TOO_MANY', `${count} items, the limit is ${countMax}`)
      if (count > r.remaining) {
        throw r.refuse('CODEC_TRUNCATED', `${count} items do not fit in ${r.remaining} bytes`)
      }
      const items: T[] = []
      for (let i = 0; i < count; i++) items.push(item.read(r))
      return items
    },
  }
}

/** One byte 0 or 1, then the value when 1. */
export function optional<T>(item: Codec<T>): Codec<T | undefined> {
  return {
    write(w, v) {
      bool.write(w, v !== undefined)
      if (v !== undefined) item.write(w, v)
    },
    read: (r) => (bool.read(r) ? item.read(r) : undefined),
  }
}

/** A number that must be one of `values`, in one byte. */
export function oneOf<const V extends number>(values: readonly V[], name: string): Codec<V> {
  const allowed: ReadonlySet<number> = new Set(values)
  return {
    write(w, v) {
      assert(allowed.has(v), `${name} ${v}`)
      w.u8(v)
    },
    read(r) {
      const value = r.u8()
      if (!allowed.has(value)) throw r.refuse('CODEC_UNKNOWN', `${name} ${value} is not known`)
      return value as V
    },
  }
}

/** Maps a wire type to a richer one; `from` may throw an OpenIMError to refuse. */
export function mapped<W, T>(wire: Codec<W>, map: { to: (value: T) => W, from: (value: W) => T }): Codec<T> {
  return {
    write: (w, v) => wire.write(w, map.to(v)),
    read(r) {
      const value = wire.read(r)
      try {
        return map.from(value)
      } catch (error) {
        if (error instanceof OpenIMError) throw r.refuse('CODEC_VALUE', error.message)
        throw error
      }
    },
  }
}

/** The fields, in the order written here. */
export function struct<T extends object>(fields: { readonly [K in keyof T]-?: Codec<T[K]> }): Codec<T> {
  const entries = Object.entries(fields) as [keyof T & string, Codec<unknown>][]
  return {
    write(w, value) {
      for (const [name, codec] of entries) codec.write(w, value[name])
    },
    read(r) {
      const value: Partial<Record<keyof T, unknown>> = {}
      for (const [name, codec] of entries) value[name] = codec.read(r)
      return value as T
    },
  }
}

export function encode<T>(codec: Codec<T>, value: T): Uint8Array {
  const writer = new Writer()
  codec.write(writer, value)
  return writer.finish()
}

/** Decodes all of `bytes`. @throws OpenIMError `CODEC_*` */
export function decode<T>(codec: Codec<T>, bytes: Uint8Array): T {
  const reader = new Reader(bytes)
  const value = codec.read(reader)
  reader.end()
  return value
}

/** Decodes bytes from the network: a refusal is a result with code and offset. */
export function tryDecode<T>(codec: Codec<T>, bytes: Uint8Array): Result<T> {
  try {
    return { ok: true, value: decode(codec, bytes) }
  } catch (error) {
    if (error instanceof OpenIMError && error.code.startsWith('CODEC_')) {
      return { ok: false, code: error.code, detail: error.message }
    }
    throw error
  }
}
