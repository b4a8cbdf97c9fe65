/** protocol/inbox-card.ts: round trip, and that card and envelope mean the same box. */
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
  const homes = nodesOf('home', limits.homesMax)
  const replicas = nodesOf('replica', limits.replicasMax)
  for (const value of [card, { ...card, homes, replicas }]) {
    assert.equal(decode(inboxCardCodec, encode(inboxCardCodec, value)), value)
  }
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
