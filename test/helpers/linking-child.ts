/**
 * A node as a program of its own that lets one new device in, for tests of devices: what `openim
 * start` runs, with the person at its screen played over stdin and stdout.
 *
 * ```text
 *   linking-child.ts DATA_DIR SETTINGS     SETTINGS: JSON of node/config.ts
 *     → {"uri", "addresses"}               the link code
 *     → {"digits"}                         a device has knocked
 *     ← same | different                   → {"linked"} | {"failed"}
 *   stdin ends: it stops
 * ```
 */
import { createInterface } from 'node:readline'
import { silentLog } from '../../node/ports.ts'
import { nodeConfig } from '../../node/config.ts'
import { lockDataDir } from '../../node/data-dir.ts'
import { loadKeys } from '../../node/keys-file.ts'
import { OpenIMNode } from '../../node/openim-node.ts'

const [dataDir = '', settings = '{}'] = process.argv.slice(2)

function tell(line: object): void {
  process.stdout.write(`${JSON.stringify(line)}\n`)
}

const lock = await lockDataDir(dataDir)
const keys = await loadKeys(dataDir)
const config = nodeConfig(JSON.parse(settings))
const node = await OpenIMNode.open({ dataDir, keys, config, log: silentLog })
await node.start()
const online = Promise.withResolvers<void>()
node.client.on((event) => {
  if (event.type === 'connection' && event.online) online.resolve()
  if (event.type !== 'link') return
  if (event.state === 'comparing') tell({ digits: event.code.digits })
  else if (event.state === 'linked') tell({ linked: true })
  else tell({ failed: event.reason })
})
if (!(await node.client.info()).online) await online.promise
const { uri, addresses } = await node.client.openLink()
tell({ uri, addresses })
for await (const line of createInterface({ input: process.stdin })) {
  await node.client.confirmLink(line === 'same')
}
await node.stop()
await lock.release()
