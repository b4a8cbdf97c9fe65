/**
 * Outgoing mail as it lies in the store: read at a start, or taken over from a process that is gone.
 * The keeper of the household moves it, record by record, from `process/DEAD/out/` to its own part,
 * each in one batch that checks that it is still there. If the other process only slept, both offer
 * the same envelopes, which their holders answer with `duplicate`.
 */
import { decode } from '../../protocol/codec/struct.ts'
import { parseEnvelope } from '../../protocol/envelope.ts'
import type { CheckedEnvelope } from '../../protocol/envelope.ts'
import { kvEntries } from '../../protocol/kv.ts'
import type { KvStore } from '../../protocol/ports.ts'
import { outgoingCodec } from './records.ts'
import type { OutgoingEnvelope } from './records.ts'

/** What comes before an envelope's id. */
export const outPrefix = 'out/'
export const processPrefix = 'process/'
const pageSize = 100

export type EnvelopeFacts = Pick<CheckedEnvelope, 'id' | 'box' | 'expiresAtMs'>

/** Without its body: a long queue stays on disk, and bodies are read when their turn comes. */
export interface StoredOutgoing {
  readonly facts: EnvelopeFacts
  readonly record: OutgoingEnvelope
}

/** All of a process, the oldest first. */
export async function storedOutgoing(ownKv: KvStore): Promise<StoredOutgoing[]> {
  const stored: StoredOutgoing[] = []
  for await (const { value } of kvEntries(ownKv, outPrefix)) stored.push(...outgoing(value))
  return stored.sort((a, b) => a.record.acceptedAtMs - b.record.acceptedAtMs)
}

function outgoing(value: Uint8Array): StoredOutgoing[] {
  const record = decode(outgoingCodec, value)
  const parsed = parseEnvelope(record.envelope)
  if (!parsed.ok) return []
  const { id, box, expiresAtMs } = parsed.value
  return [{ facts: { id, box, expiresAtMs }, record: { ...record, envelope: new Uint8Array() } }]
}

/** Names of processes that have records of their own. */
export async function processesOf(kv: KvStore): Promise<string[]> {
  const found: string[] = []
  let after = processPrefix
  for (;;) {
    const [next] = await kv.list({ prefix: processPrefix, after, limit: 1 })
    const name = next?.key.slice(processPrefix.length).split('/')[0]
    if (name === undefined) return found
    found.push(name)
    // The sign after '/': all of this process lies before it.
    after = `${processPrefix}${name}0`
  }
}

/**
 * Moves what was on its way out.
 *
 * @param kv of the whole household, fenced
 * @param from scopes: `process/NODE/`, or empty for what a node left that was alone here before
 * @returns what is ours now, the oldest first
 */
export async function adoptOutgoing(
  kv: KvStore,
  { from, to }: { readonly from: string, readonly to: string },
): Promise<StoredOutgoing[]> {
  const adopted: StoredOutgoing[] = []
  const prefix = from + outPrefix
  let after = prefix
  for (;;) {
    const page = await kv.list({ prefix, after, limit: pageSize })
    for (const { key, value, version } of page) {
      const isOurs = await kv.write([
        { type: 'check', key, version },
        { type: 'put', key: to + outPrefix + key.slice(prefix.length), value },
        { type: 'delete', key },
      ])
      if (isOurs) adopted.push(...outgoing(value))
      after = key
    }
    if (page.length < pageSize) break
  }
  return adopted.sort((a, b) => a.record.acceptedAtMs - b.record.acceptedAtMs)
}
