/** Where a linked device finds its node: written whole, and checked when a person changed it. */
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { errorCode } from '../../crypto/errors.ts'
import { homeAddresses, readHome, writeHome } from '../../node/home-file.ts'
import { limits } from '../../protocol/limits.ts'
import { suite } from '../helpers/harness.ts'
import { seededRandom } from '../helpers/seeded-random.ts'

const test = suite('node/home-file')
const home = {
  doorKey: seededRandom('door').bytes(32),
  addresses: ['tcp://192.0.2.7:4482', 'wss://home.example:443'],
}
let dir = ''
test.before.each(async () => { dir = await mkdtemp(join(tmpdir(), 'openim-home-')) })
test.after.each(() => rm(dir, { recursive: true, force: true }))

test('comes back as it was written, for its owner alone', async () => {
  await writeHome(dir, home)
  assert.equal(await readHome(dir), home)
  assert.is((await stat(join(dir, 'home.json'))).mode & 0o777, 0o600)
})

test('names what a person wrote wrong', async () => {
  assert.is(await readHome(dir).catch(errorCode), 'HOME_FILE')
  await writeHome(dir, home)
  const good = JSON.parse(await readFile(join(dir, 'home.json'), 'utf8')) as Record<string, unknown>
  const wrong: readonly (readonly [object | string, string])[] = [
    ['{"doorKey":', 'HOME_FILE'],
    [{ ...good, addresses: [] }, 'HOME_FILE'],
    [{ ...good, doorKey: 'short' }, 'HOME_FILE'],
    [{ ...good, more: 1 }, 'HOME_FILE'],
    [{ ...good, addresses: ['gopher://192.0.2.7:70'] }, 'DOOR_ADDRESS'],
    [{ ...good, addresses: Array(limits.homeAddressesMax + 1).fill('tcp://192.0.2.7:1') }, 'HOME_FILE'],
  ]
  for (const [content, code] of wrong) {
    await writeFile(join(dir, 'home.json'), typeof content === 'string' ? content : JSON.stringify(content))
    assert.is(await readHome(dir).catch(errorCode), code, JSON.stringify(content))
  }
})

test('keeps each address once, and no more than are tried', () => {
  const many = Array.from({ length: 40 }, (_, i) => `tcp://192.0.2.7:${i + 1}`)
  assert.equal(homeAddresses(['tcp://a:1', 'tcp://b:1', 'tcp://a:1']), ['tcp://a:1', 'tcp://b:1'])
  assert.is(homeAddresses(many).length, limits.homeAddressesMax)
})

test.run()
