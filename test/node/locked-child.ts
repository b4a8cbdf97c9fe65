/**
 * A process that opens sealed keys and locks them again, for locked-memory.test.ts to look at from
 * outside: `open DIR PASSPHRASE_FILE`, then a line on stdin for each step.
 */
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { join } from 'node:path'
import { writeHeapSnapshot } from 'node:v8'
import { passphraseFromFile } from '../../cli/passphrase.ts'
import { wipe } from '../../crypto/bytes.ts'
import { loadKeys } from '../../node/keys-file.ts'

const [dir = '', passphraseFile = ''] = process.argv.slice(2)
const steps = createInterface({ input: process.stdin })
const collect = (globalThis as { gc?: () => void }).gc

const passphrase = await passphraseFromFile(passphraseFile)
const keys = await loadKeys(dir, passphrase)
await said('open')

keys.wipe()
wipe(passphrase)
// Key objects and cipher states inside OpenSSL are wiped when they are collected.
collect?.()
writeHeapSnapshot(join(dir, 'heap'))
await said('locked')
process.exit()

async function said(word: string): Promise<void> {
  process.stdout.write(`${word}\n`)
  await once(steps, 'line')
}
