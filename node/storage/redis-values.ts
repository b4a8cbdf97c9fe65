/** Ids, bytes and rows of boxes between the store and its scripts (redis-scripts.ts). */
import type { BoxId, EnvelopeId } from '../../protocol/ids.ts'
import type { BoxLimits, BoxUsage } from '../ports.ts'
import type { RedisCommitQueue } from './redis-commit.ts'
import type { RedisArgument } from './redis-link.ts'
import { fromLua, luaNumber } from './redis-scripts.ts'

/** 32 bytes. */
export function rawId(id: BoxId | EnvelopeId): Buffer {
  return Buffer.from(id, 'hex')
}

export function envelope(raw: Buffer): EnvelopeId {
  return raw.toString('hex') as EnvelopeId
}

export function boxId(raw: Buffer): BoxId {
  return raw.toString('hex') as BoxId
}

/** A view: the driver takes nothing but Buffers. */
export function bytesOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
}

export function boxArguments(box: BoxId, { itemsMax, bytesMax, expiresAtMs }: BoxLimits): RedisArgument[] {
  return [rawId(box), ...[itemsMax, bytesMax, expiresAtMs].map(luaNumber)]
}

/** All boxes of mail or of files, in order of creation. */
export async function boxPages(
  queue: RedisCommitQueue,
  operation: 'boxes' | 'files',
): Promise<{ box: BoxId, limits: BoxLimits, usage: BoxUsage }[]> {
  const boxes: { box: BoxId, limits: BoxLimits, usage: BoxUsage }[] = []
  for (let after = '0'; ;) {
    const [last, rows] = await queue.read(operation, after) as [Buffer, Buffer[][]]
    for (const [box, ...texts] of rows) {
      const [itemsMax, bytesMax, expiresAtMs, items, bytes] =
        texts.map((text) => fromLua(String(text))) as [number, number, number, number, number]
      boxes.push({ box: boxId(box!), limits: { itemsMax, bytesMax, expiresAtMs }, usage: { items, bytes } })
    }
    if (last.length === 0) return boxes
    after = String(last)
  }
}
