/**
 * One element from its text and back: for records that we wrote ourselves and for messages of a
 * WebSocket.
 */
import { ElementBuilder } from './builder.ts'
import type { ReadFailure } from './builder.ts'
import type { XmlElement } from './element.ts'

export { writeElement } from './writer.ts'

/** The one element that `text` is, or why it is none. */
export function parseElement(text: string): XmlElement | {
  readonly condition: ReadFailure, readonly text: string,
} {
  let found: XmlElement | undefined
  let failure: { readonly condition: ReadFailure, readonly text: string } | undefined
  const builder = new ElementBuilder({
    root() {},
    element: (element) => { found = element },
    end() {},
    failed: (condition, text) => { failure = { condition, text } },
  }, 0)
  builder.write(text)
  builder.close()
  return failure ?? found ?? { condition: 'not-well-formed', text: 'there is no element' }
}

/** `undefined`: damaged. */
export function readElement(text: string): XmlElement | undefined {
  const read = parseElement(text)
  return 'condition' in read ? undefined : read
}
