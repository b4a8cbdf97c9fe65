/** protocol/codec/writer.ts: the buffer grows under every kind of field. */
import * as assert from 'uvu/assert'
import { hex } from '../../../crypto/bytes.ts'
import { Writer } from '../../../protocol/codec/writer.ts'
import { suite } from '../../helpers/harness.ts'

const test = suite('protocol/codec/writer')

const fields: readonly (readonly [string, (writer: Writer) => void, string])[] = [
  ['u8', (writer) => writer.u8(0xab), 'ab'],
  ['u16', (writer) => writer.u16(0xabcd), 'abcd'],
  ['u32', (writer) => writer.u32(0xabcdef01), 'abcdef01'],
  ['u64', (writer) => writer.u64(0x1_2345_6789), '0000000123456789'],
  ['varint of 1 byte', (writer) => writer.varint(63), '3f'],
  ['varint of 2 bytes', (writer) => writer.varint(64), '4040'],
  ['varint of 4 bytes', (writer) => writer.varint(16_384), '80004000'],
  ['varint of 8 bytes', (writer) => writer.varint(2 ** 30), 'c000000040000000'],
  ['opaque', (writer) => writer.opaque(new Uint8Array([1, 2])), '020102'],
]

test('a field written where the buffer ends is whole', () => {
  for (const [name, write, expected] of fields) {
    for (let before = 0; before <= 9; before++) {
      const writer = new Writer(8)
      writer.raw(new Uint8Array(before))
      write(writer)
      assert.is(hex(writer.finish()), '00'.repeat(before) + expected, `${name} after ${before} bytes`)
    }
  }
})

test.run()
