/** The CLI as people and scripts see it: each file in transcripts/ is played and compared. */
import { globSync } from 'node:fs'
import { basename, join } from 'node:path'
import * as assert from 'uvu/assert'
import { base64urlnopad } from '@scure/base'
import { systemRandom } from '../../crypto/random.ts'
import { crypto } from '../../crypto/index.ts'
import { formatInvite } from '../../protocol/invite.ts'
import { suite } from '../helpers/harness.ts'
import { playFile } from '../helpers/transcript.ts'

const test = suite('cli/transcripts', { timeoutMs: 90_000 })

/** Invites with one thing wrong each; nobody stands behind them. */
function badInvites(): Record<string, string> {
  const rootKey = crypto.signingKeyPair(systemRandom.bytes(32)).publicKey
  const content = { rootKey, seed: systemRandom.bytes(15), introToken: systemRandom.bytes(15) }
  const good = formatInvite({ ...content, expiryHour: 2 ** 24 - 1 })
  const damaged = good.slice(0, 40) + (good[40] === 'A' ? 'B' : 'A') + good.slice(41)
  return {
    'expired.txt': formatInvite({ ...content, expiryHour: 400_000 }),
    'damaged.txt': damaged,
    'cut.txt': good.slice(0, 'openim:'.length + 60),
    'newer.txt': newerVersion(good),
  }
}

/** The same invite as version 15 would write it, checksum and all. */
function newerVersion(uri: string): string {
  const bytes = base64urlnopad.decode(uri.slice('openim:'.length))
  const body = bytes.slice(0, -2)
  body[0] = 0xf0
  const label = new TextEncoder().encode('openim invite v1')
  const checksum = crypto.sha256(new Uint8Array([...label, ...body])).subarray(0, 2)
  return `openim:${base64urlnopad.encode(new Uint8Array([...body, ...checksum]))}`
}

for (const path of globSync(join(import.meta.dirname, 'transcripts', '*.txt')).sort()) {
  test(`${basename(path, '.txt')} goes as written`, async () => {
    const { expected, actual } = await playFile(path, badInvites())
    assert.is(actual, expected)
  })
}

test.run()
