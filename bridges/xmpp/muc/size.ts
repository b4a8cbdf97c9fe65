/** About how many characters an element has, without writing it. */
import type { XmlElement } from '../xml/element.ts'

/** Of a tag, its end and its namespace. */
const tagCharacters = 40

export function sizeOf({ attrs, children }: XmlElement): number {
  let size = tagCharacters
  for (const name in attrs) size += name.length + attrs[name]!.length
  for (const child of children) size += typeof child === 'string' ? child.length : sizeOf(child)
  return size
}
