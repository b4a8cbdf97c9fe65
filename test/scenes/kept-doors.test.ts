/**
 * A linked device finds its node again, with real processes: after restarts of a node whose doors
 * nobody set, and at new doors that the node told it of.
 */
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { linkDevice } from '../helpers/cli-link.ts'
import { CliNode, eventually } from '../helpers/cli-node.ts'
import { freePort } from '../helpers/free-port.ts'
import { suite } from '../helpers/harness.ts'

const test = suite('scenes/kept doors', { timeoutMs: 120_000 })

let nodes: CliNode[] = []
test.after.each(async () => {
  await Promise.all(nodes.map((node) => node.remove()))
  nodes = []
})

/** The way by which the device is in session. */
async function wayOf(laptop: CliNode): Promise<string | undefined> {
  const { home } = (await laptop.run(['status'])).json as { home?: { address?: string } }
  return home?.address
}

function untilIn(laptop: CliNode, isWay: (address: string) => boolean): Promise<string> {
  return eventually(async () => {
    const way = await wayOf(laptop)
    return way !== undefined && isWay(way) ? way : undefined
  }, { withinMs: 60_000, everyMs: 500, what: 'the laptop is in session' })
}

function addressesOf(laptop: CliNode): Promise<string[]> {
  return readFile(join(laptop.dataDir, 'home.json'), 'utf8')
    .then((text) => (JSON.parse(text) as { addresses: string[] }).addresses)
}

test('a device finds its node after restarts, and at doors that it was told of', async () => {
  const alice = await CliNode.init('alice')
  const laptop = await CliNode.empty('laptop')
  nodes = [alice, laptop]
  const { listen } = await alice.start()
  await linkDevice(alice, laptop)
  await laptop.startDevice()
  await untilIn(laptop, () => true)

  // Nobody said where the doors are: they stay.
  await alice.kill()
  const again = await alice.start()
  assert.equal(again.listen, listen)
  await untilIn(laptop, () => true)

  // A new door is told of, and is the only one left next time.
  const ws = `127.0.0.1:${await freePort()}`
  await alice.stop()
  await alice.start([], ['--ws-listen', ws])
  await eventually(async () => (await addressesOf(laptop)).includes(`ws://${ws}`) || undefined, {
    withinMs: 60_000, what: 'the laptop has written down the new door',
  })
  await alice.stop()
  await alice.start([], ['--ws-listen', ws, '--tcp-listen', '127.0.0.1:0', '--udp-listen', '127.0.0.1:0'])
  assert.is(await untilIn(laptop, (way) => way.startsWith('ws:')), `ws://${ws}`)

  // Somebody else on the kept port is named, not dodged.
  await Promise.all([laptop.stop(), alice.stop()])
  const other = createServer().listen(Number(listen.tcp!.split(':')[1]), '127.0.0.1')
  await once(other, 'listening')
  const refused = await alice.run(['start'])
  await new Promise((resolve) => { other.close(resolve) })
  assert.is.not(refused.code, 0)
  assert.ok(refused.stderr.includes(`tcp ${listen.tcp} is in use by another program`), refused.stderr)
})

test.run()
