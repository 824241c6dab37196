"""The grammar of rule trees and predicates, as decisions and signals write them. Pure."""
