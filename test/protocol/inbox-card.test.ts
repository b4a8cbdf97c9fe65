/** protocol/inbox-card.ts */
import * as assert from 'uvu/assert'
import { decode, encode } from '../../protocol/codec/struct.ts'
import { createEnvelope, parseEnvelope, verifyEnvelope } from '../../protocol/envelope.ts'
import { inboxCardCodec, openCard } from '../../protocol/inbox-card.ts'
import { limits } from '../../protocol/limits.ts'
import { cardOf, nodesOf, testHour } from '../helpers/actors.ts'
import { suite } from '../helpers/harness.ts'

const test = suite('protocol/inbox-card')
const card = cardOf('alice for bob')

test('comes back as it was written, at its largest too', () => {
  const largest = { ...card, homes: nodesOf('h', limits.homesMax), replicas: nodesOf('r', limits.replicasMax) }
  for (const value of [card, largest]) assert.equal(decode(inboxCardCodec, encode(inboxCardCodec, value)), value)
})

test('an envelope written with the card lands in the box that the card names', () => {
  const { writeKeys, box } = openCard(card)
  const encoded = createEnvelope({
    writeKeys, readKey: card.readKey, expiryHour: testHour + 1, ciphertext: new Uint8Array(512),
  })
  const parsed = parseEnvelope(encoded)
  assert.ok(parsed.ok)
  assert.is(parsed.value.box, box)
  assert.ok(verifyEnvelope(encoded, parsed.value.envelope))
})

test.run()
