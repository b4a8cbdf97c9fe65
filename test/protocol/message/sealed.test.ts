/** protocol/message/sealed.ts and content.ts: from a payload to an envelope's ciphertext and back. */
import * as assert from 'uvu/assert'
import { hex } from '../../../crypto/bytes.ts'
import { deviceId } from '../../../protocol/account.ts'
import { sizeClass } from '../../../protocol/envelope.ts'
import { limits } from '../../../protocol/limits.ts'
import type { MessageId } from '../../../protocol/ids.ts'
import { contentDigest, openContent, sealContent } from '../../../protocol/message/content.ts'
import type { Payload } from '../../../protocol/message/payload.ts'
import { openMessage, sealMessage } from '../../../protocol/message/sealed.ts'
import type { SealedMessage } from '../../../protocol/message/sealed.ts'
import { bytesOf, flipped, testNowMs } from '../../helpers/actors.ts'
import { suite } from '../../helpers/harness.ts'
import { seededRandom } from '../../helpers/seeded-random.ts'

const test = suite('protocol/message/sealed')
const sealKey = bytesOf('seal key')
const senderDevice = deviceId(bytesOf('sender'))

function payloadOf(text: string): Payload {
  const messageId = hex(bytesOf('id', 16)) as MessageId
  return { messageId, sentAtMs: testNowMs, sequence: 1, body: { type: 'text', text } }
}
function messageOf(contentBytes: number, devices = 1, wrapBytes = 130): SealedMessage {
  const entries = Array.from({ length: devices }, (_, i) => ({
    recipientDevice: deviceId(bytesOf(`device ${i}`)),
    wrap: new Uint8Array(wrapBytes).fill(i),
  }))
  return { senderDevice, entries, deviceList: undefined, content: new Uint8Array(contentBytes).fill(7) }
}
function codeOf(result: { ok: boolean, code?: string }): string {
  return result.ok ? 'ok' : result.code!
}

test('a payload goes through content and seal and comes out whole', () => {
  const payload = payloadOf('hello')
  const { content, contentKey, digest } = sealContent(payload, seededRandom(1))
  assert.is(hex(digest), hex(contentDigest(content)))
  const sealed = sealMessage({ ...messageOf(0), content }, sealKey, seededRandom(2))
  const opened = openMessage(sealed, sealKey)
  assert.ok(opened.ok)
  assert.is(opened.value.senderDevice, senderDevice)
  assert.equal(openContent(opened.value.content, contentKey), { ok: true, value: payload })
})

test('each ciphertext is exactly the smallest size class that holds it', () => {
  const overhead = 24 + 16 + 1 + 16 + 1 + 16 + 2 + 130 + 1 + 2
  for (const size of limits.sizeClassesBytes) {
    const more = size > 16_384 ? 2 : 0
    assert.is(sealMessage(messageOf(size - overhead - more), sealKey, seededRandom(1)).length, size)
    if (size < 65_536) {
      const next = sizeClass(size + 1)
      assert.is(sealMessage(messageOf(size - overhead - more + 1), sealKey, seededRandom(1)).length, next)
    }
  }
})

test('the longest text reaches sixteen devices whose sessions all begin', () => {
  const { content } = sealContent(payloadOf('x'.repeat(limits.textBytesMax)), seededRandom(1))
  const message = messageOf(0, limits.devicesMax, limits.wrapBytesMax)
  const sealed = sealMessage({ ...message, content }, sealKey, seededRandom(2))
  assert.is(sealed.length, 65_536)
})

test('what exceeds the largest class is refused before anything is sent', () => {
  assert.throws(
    () => sealMessage(messageOf(65_500), sealKey, seededRandom(1)),
    (error: { code: string }) => error.code === 'MESSAGE_TOO_LONG',
  )
})

test('another key, a changed byte or a short ciphertext does not open', () => {
  const sealed = sealMessage(messageOf(10), sealKey, seededRandom(1))
  assert.is(codeOf(openMessage(sealed, bytesOf('other'))), 'MESSAGE_SEAL')
  for (const at of [0, 23, 24, 100, 400, -1]) {
    assert.is(codeOf(openMessage(flipped(sealed, at), sealKey)), 'MESSAGE_SEAL', `byte ${at}`)
  }
  for (const length of [0, 10, 24, 39, 40, 511]) {
    assert.is(codeOf(openMessage(sealed.subarray(0, length), sealKey)), 'MESSAGE_SEAL', `${length} bytes`)
  }
})

test('content opens with its key alone, and only unchanged', () => {
  const { content, contentKey } = sealContent(payloadOf('hello'), seededRandom(1))
  assert.is(codeOf(openContent(content, bytesOf('other'))), 'MESSAGE_CONTENT')
  for (const at of [0, 20, -1]) {
    assert.is(codeOf(openContent(flipped(content, at), contentKey)), 'MESSAGE_CONTENT', `byte ${at}`)
  }
  for (const length of [0, 15, 16]) {
    const cut = content.subarray(0, length)
    assert.is(codeOf(openContent(cut, contentKey)), 'MESSAGE_CONTENT', `${length} bytes`)
  }
})

test('a fresh content key and nonce make equal messages look different', () => {
  const random = seededRandom(1)
  const first = sealContent(payloadOf('hello'), random)
  const second = sealContent(payloadOf('hello'), random)
  assert.is.not(hex(first.contentKey), hex(second.contentKey))
  assert.is.not(hex(first.content), hex(second.content))
  const sealed = [0, 1].map(() => hex(sealMessage(messageOf(9), sealKey, random)))
  assert.is.not(sealed[0], sealed[1])
})

test.run()
