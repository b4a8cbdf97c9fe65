/** Passphrases as people type and files hold them: hidden, edited, in one normal form, bounded. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import * as assert from 'uvu/assert'
import type { CommandContext } from '../../cli/context.ts'
import { askPassphrase, passphraseFromFile } from '../../cli/passphrase.ts'
import { Terminal } from '../../cli/terminal.ts'
import { utf8Decode } from '../../crypto/bytes.ts'
import { errorCode } from '../../crypto/errors.ts'
import { suite } from '../helpers/harness.ts'

const test = suite('cli/passphrase')
let dir = ''
test.before.each(async () => { dir = await mkdtemp(join(tmpdir(), 'openim-passphrase-')) })
test.after.each(async () => await rm(dir, { recursive: true, force: true }))

/** A person at a terminal, key by key; what was shown and whether echo was off meanwhile. */
function person(): { context: CommandContext, type(keys: string): void, shown(): string, modes: boolean[] } {
  const modes: boolean[] = []
  const setRawMode = (isRaw: boolean): void => { modes.push(isRaw) }
  const stdin = Object.assign(new PassThrough(), { isTTY: true, setRawMode })
  const stdout = Object.assign(new PassThrough(), { isTTY: true })
  const stderr = Object.assign(new PassThrough(), { isTTY: true })
  const terminal = new Terminal({ stdin, stdout, stderr }, { json: false, colour: false, env: {} })
  return {
    context: { terminal, options: {} } as unknown as CommandContext,
    type: (keys) => { stdin.write(keys) },
    shown: () => String(stderr.read() ?? '') + String(stdout.read() ?? ''),
    modes,
  }
}

async function typed(...chunks: readonly string[]): Promise<string | undefined> {
  const { context, type } = person()
  const answer = askPassphrase(context, { what: 'of the keys', confirm: false })
  for (const chunk of chunks) type(chunk)
  return await answer.then(utf8Decode, errorCode)
}

async function fromFile(content: string | Uint8Array): Promise<string | undefined> {
  const path = join(dir, 'secret')
  await writeFile(path, content)
  return await passphraseFromFile(path).then(utf8Decode, errorCode)
}

test('is read without echo, and the terminal is given back', async () => {
  const { context, type, shown, modes } = person()
  const answer = askPassphrase(context, { what: 'of the keys', confirm: false })
  type('hunter2\r')
  assert.is(utf8Decode(await answer), 'hunter2')
  assert.is(shown(), 'Passphrase of the keys: \n')
  assert.equal(modes, [true, false])
})

test('takes keys one by one, corrections included', async () => {
  assert.is(await typed('a', 'b', 'c', '\n'), 'abc')
  assert.is(await typed('abX\x7fc\r'), 'abc')
  assert.is(await typed('aä\u0301€\x7f\x7f', '\x7fb\r'), 'ab')
  assert.is(await typed('\x7f\x08a\r'), 'a')
  assert.is(await typed('wrong\x15right\r'), 'right')
  assert.is(await typed('ab', '\x1b[D', 'c\r'), 'abc')
})

test('ends with Ctrl-C, and with Ctrl-D before anything was typed', async () => {
  assert.is(await typed('abc\x03'), 'INTERRUPTED')
  assert.is(await typed('\x04'), 'USAGE_NO_TERMINAL')
  assert.is(await typed('a\x04b\r'), 'ab')
  assert.is(await typed('\r'), 'USAGE_ARGUMENT')
})

test('is asked for twice where a slip would cost the keys, also when both lines are pasted', async () => {
  const ask = async (keys: string): Promise<string | undefined> => {
    const { context, type } = person()
    const answer = askPassphrase(context, { what: 'for the keys', confirm: true })
    type(keys)
    return await answer.then(utf8Decode, errorCode)
  }
  assert.is(await ask('one\rone\r'), 'one')
  assert.is(await ask('one\rtwo\r'), 'USAGE_ARGUMENT')
})

test('is the same however an accent was typed', async () => {
  assert.is(await typed('caf\u00e9\r'), await typed('cafe\u0301\r'))
  assert.is(await fromFile('cafe\u0301\n'), 'caf\u00e9')
})

test('is the first line of a file, whatever ends it', async () => {
  assert.is(await fromFile('secret'), 'secret')
  assert.is(await fromFile('secret\r\nmore\n'), 'secret')
  assert.is(await fromFile(' spaces stay \n'), ' spaces stay ')
  assert.is(await fromFile(''), 'USAGE_ARGUMENT')
  assert.is(await fromFile('\n'), 'USAGE_ARGUMENT')
  assert.is(await fromFile(new Uint8Array([0xff, 0xfe, 0x0a])), 'USAGE_ARGUMENT')
  assert.is(await passphraseFromFile(join(dir, 'absent')).catch(errorCode), 'USAGE_FILE')
})

test('has at most 1,024 bytes, wherever it comes from', async () => {
  const longest = 'x'.repeat(1_024)
  assert.is(await fromFile(`${longest}\n`), longest)
  assert.is(await typed(`${longest}\r`), longest)
  assert.is(await fromFile(`${longest}x\n`), 'USAGE_ARGUMENT')
  assert.is(await fromFile('x'.repeat(10_000_000)), 'USAGE_ARGUMENT')
  assert.is(await typed(`${longest}xyz\r`), 'USAGE_ARGUMENT')
})

test.run()
