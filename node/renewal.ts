/**
 * A node in the place of an old one: the offline part of `backup restore`, `devices renew` and
 * `init --recover`. The rest is the client's, at the next start (protocol/client/renewal.ts).
 *
 * The node gets another peer key, because two nodes under one key would take each other's links. It
 * keeps the door key, by which linked devices know it, and the data key, which seals the store. Of
 * the rooms' records those go that were the old device's or the old node's; the inboxes stay, with
 * the replicas that hold their mail, so that it is collected.
 */
import type { Random } from '../crypto/random.ts'
import { createAccount, readAccount } from '../protocol/client/account-state.ts'
import { beginRenewal, markRecovered } from '../protocol/client/renewal.ts'
import { kvEntries } from '../protocol/kv.ts'
import type { Clock, KvStore } from '../protocol/ports.ts'
import { NodeKeys } from './keys-file.ts'
import { openNodeStore } from './node-store.ts'
import type { Log, Store } from './ports.ts'

/** Who may log in, envelopes and prekeys of the old device, what the old node announced. */
const oldPrefixes = ['account/', 'out/', 'acked/', 'own-shelf/', 'location/own/', 'node/since-hour']

export interface RenewalComponents {
  readonly store: Store
  readonly keys: NodeKeys
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
}

/** The same keys with another peer key. The caller saves them before the store is renewed. */
export function renewedKeys(keys: NodeKeys, random: Random): NodeKeys {
  const { doorSecret, dataKey, rootEntropy } = keys
  return new NodeKeys({ nodeSeed: random.bytes(32), doorSecret, dataKey, rootEntropy })
}

/** Can be done again after it was cut off. @throws ACCOUNT_*, STORE_* */
export async function renewStore(components: RenewalComponents): Promise<{ address: string }> {
  const { random } = components
  const { store, account } = await openNodeStore({ ...components, dataKey: components.keys.dataKey })
  for (const prefix of oldPrefixes) await deleteAll(store.kv, prefix)
  const renewed = await beginRenewal({ kv: account, random })
  return { address: renewed.account.address }
}

/** The account of recovery words in an empty store. @throws ACCOUNT_NAME, STORE_* */
export async function recoverStore(components: RenewalComponents & { name: string }): Promise<void> {
  const { keys, clock, random, name } = components
  const { account: kv } = await openNodeStore({ ...components, dataKey: keys.dataKey })
  await markRecovered(kv)
  if (await readAccount(kv) === undefined) {
    await createAccount({ kv, clock, random, name, entropy: keys.rootEntropy })
  }
}

async function deleteAll(kv: KvStore, prefix: string): Promise<void> {
  for await (const { key } of kvEntries(kv, prefix)) await kv.write([{ type: 'delete', key }])
}
