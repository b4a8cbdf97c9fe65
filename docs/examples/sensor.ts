/**
 * A sensor that reports over UDP, which costs the fewest packets and outlives a change of address.
 * It measures, sends, and waits for nothing: what the network does not take now leaves later.
 *
 * ```sh
 * node docs/examples/sensor.ts --store sensor-data --link 'openim-link:…'
 * node docs/examples/sensor.ts --store sensor-data --to bob --every 60000
 * ```
 */
import { freemem } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { linkDevice, openDevice, openDeviceStore, waysTo } from 'openim/client/node'
import type { WaysTo } from 'openim/client/node'
import { askSame } from './ask-same.ts'

const { values } = parseArgs({ options: {
  store: { type: 'string', default: 'sensor-data' },
  link: { type: 'string' },
  to: { type: 'string' },
  every: { type: 'string', default: '60000' },
  times: { type: 'string', default: 'Infinity' },
} })

const ways: WaysTo = (addresses, ...rest) =>
  waysTo(addresses.filter((address) => address.startsWith('udp://')), ...rest)

const { kv, close } = await openDeviceStore({ directory: values.store })
if (values.link !== undefined) {
  await linkDevice({ kv, ways, code: values.link, name: 'sensor', compare: askSame })
  process.stdout.write('linked\n')
}
const client = await openDevice({ kv, ways })
// A device that was linked a moment ago is told of the account's contacts by its other devices.
while (values.to !== undefined && !await isKnown(values.to)) await sleep(1_000)
for (let reading = 1; values.to !== undefined && reading <= Number(values.times); reading++) {
  const { id } = await client.send(values.to, JSON.stringify({ reading, freeBytes: freemem() }))
  // The last words must be out before it ends.
  if (reading === Number(values.times)) await client.waitFor(id, 'stored')
  else await sleep(Number(values.every))
}
await client.stop()
await close()

async function isKnown(person: string): Promise<boolean> {
  return (await client.contacts()).some(({ name, address }) => person === name || person === address)
}
